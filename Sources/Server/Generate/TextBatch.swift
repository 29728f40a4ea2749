// TextBatch: the outputs of the generations that one caller started together, as they grow.
//
// Outputs are cumulative, so a slow reader misses nothing: tokens that became ready while it was busy arrive as one
// update. Whoever reads makes the text, so a token costs one wake-up on its way from the engine to a socket. Whoever drops
// the batch, or cancels it, frees the engine's places. When one of its requests is refused after all, because another took
// its place in the queue, the whole batch ends with that error.

public import Engine

/// An output together with its place in the batch.
public struct IndexedOutput: Sendable, Equatable {
    /// The place of the request in the list that was submitted.
    public var index: Int
    /// Everything generated for it so far.
    public var output: TextOutput
}

/// The outputs of the generations that one caller started together: each element holds those that changed.
public struct TextBatch: AsyncSequence, Sendable {
    /// Those that changed since the element before.
    public typealias Element = [IndexedOutput]

    /// How many requests there are.
    public var count: Int { assemblies.count }
    private let stream: GenerationStream
    private let assemblies: [TextAssembly]
    private let metrics: ServingMetrics
    private let start: ContinuousClock.Instant
    private let registration: ActiveRegistration

    /// The batch whose events come from `stream`.
    ///
    /// - Parameters:
    ///   - stream: the engine's events.
    ///   - assemblies: one for each request.
    ///   - metrics: where times are noted.
    ///   - start: when the batch was submitted.
    ///   - registration: kept for as long as somebody has the batch.
    init(
        _ stream: GenerationStream, _ assemblies: [TextAssembly], metrics: ServingMetrics,
        start: ContinuousClock.Instant, registration: ActiveRegistration
    ) {
        self.stream = stream
        self.assemblies = assemblies
        self.metrics = metrics
        self.start = start
        self.registration = registration
    }

    /// What ends all generations that still run; the sequence ends soon after. Does not hold the batch.
    var cancellation: @Sendable () -> Void { { [weak stream] in stream?.cancel() } }

    /// All outputs once they are done; nil when the batch was cancelled before.
    ///
    /// - Throws: why the batch was refused.
    public func finished() async throws(EngineError) -> [TextOutput]? {
        var outputs = makeAsyncIterator()
        while try await outputs.advance() != nil {}
        return outputs.isDone ? outputs.assemblies.map(\.output) : nil
    }

    /// An iterator; use one only.
    public func makeAsyncIterator() -> Iterator { Iterator(self) }

    /// Waits for changes.
    public struct Iterator: AsyncIteratorProtocol, Sendable {
        private let batch: TextBatch
        private var updates: GenerationStream.Iterator
        fileprivate private(set) var assemblies: [TextAssembly]
        /// Requests of which more is to come.
        private var running: Set<Int>

        fileprivate init(_ batch: TextBatch) {
            self.batch = batch
            updates = batch.stream.makeAsyncIterator()
            assemblies = batch.assemblies
            running = Set(assemblies.indices)
        }

        /// Whether all outputs are complete.
        var isDone: Bool { running.isEmpty }

        /// Waits until an output has changed; nil after the last, and when the batch was cancelled.
        ///
        /// - Throws: why the batch was refused.
        public mutating func next() async throws(EngineError) -> [IndexedOutput]? {
            while let changed = try await advance() {
                if !changed.isEmpty {
                    return changed.sorted().map { IndexedOutput(index: $0, output: assemblies[$0].output) }
                }
            }
            return nil
        }

        /// Takes what has come. Returns which outputs have changed; nil when nothing follows.
        fileprivate mutating func advance() async throws(EngineError) -> Set<Int>? {
            guard !isDone else { return nil }
            guard let updates = await updates.next() else { return abandon() }
            var changed: Set<Int> = []
            for update in updates where running.contains(update.index) {
                if case .finished(.refused(let error)) = update.event { throw error }
                if take(update) { changed.insert(update.index) }
            }
            return changed
        }

        /// Returns whether there is something to show.
        private mutating func take(_ update: GenerationUpdate) -> Bool {
            let index = update.index
            let before = ServingMetrics.Mark(assemblies[index].output)
            let wasFinished = assemblies[index].output.finish != nil
            assemblies[index].append(update.event)
            if !wasFinished {
                assemblies[index].note(elapsed: update.time - batch.start)
                batch.metrics.note(before, assemblies[index].output)
            }
            guard let finish = assemblies[index].output.finish else { return true }
            // The engine does not know stop texts.
            if case .stopText = finish, !wasFinished { batch.stream.stop(index) }
            // Experts come when the engine has ended the request.
            if assemblies[index].awaitsExperts { return false }
            running.remove(index)
            return true
        }

        /// The stream has ended: by our own doing, or because the engine is gone.
        private mutating func abandon() -> Set<Int>? {
            guard !batch.stream.isCancelled else { return nil }
            for index in running { assemblies[index].abandon() }
            defer { running = [] }
            return running
        }
    }
}
