// TextBatch: the outputs of the generations that one caller started together, as they grow.
//
// Outputs are cumulative, so a slow reader misses nothing when only the latest of each is kept: tokens that become
// ready while it is busy arrive as one update. Whoever drops the batch, or cancels it, frees the engine's places. When one
// of its requests is refused after all, because another took its place in the queue, the whole batch ends with that error.

public import Engine
internal import Synchronization

/// An output together with its place in the batch.
public struct IndexedOutput: Sendable, Equatable {
    /// The place of the request in the list that was submitted.
    public var index: Int
    /// Everything generated for it so far.
    public var output: TextOutput
}

/// The outputs of the generations that one caller started together: each element holds those that changed.
public final class TextBatch: AsyncSequence, Sendable {
    /// Those that changed since the element before.
    public typealias Element = [IndexedOutput]

    /// How many requests there are.
    public let count: Int
    private let board: OutputBoard
    private let pump: Task<Void, Never>

    /// A batch of `count` outputs.
    ///
    /// - Parameters:
    ///   - count: how many requests there are.
    ///   - work: publishes outputs, and returns why the batch was refused if it was; cancelled when the batch is dropped.
    init(count: Int, _ work: @escaping @Sendable (OutputBoard) async -> EngineError?) {
        let board = OutputBoard(count: count)
        self.count = count
        self.board = board
        pump = Task {
            board.close(await work(board))
        }
    }

    deinit { pump.cancel() }

    /// Ends all generations that still run; the sequence ends soon after.
    public func cancel() { pump.cancel() }

    /// All outputs once they are done; nil when the batch was cancelled before.
    ///
    /// - Throws: why the batch was refused.
    public func finished() async throws(EngineError) -> [TextOutput]? {
        var outputs = [TextOutput?](repeating: nil, count: count)
        var updates = makeAsyncIterator()
        while let changed = try await updates.next() {
            for update in changed { outputs[update.index] = update.output }
        }
        let complete = outputs.compactMap { $0?.finish == nil ? nil : $0 }
        return complete.count == count ? complete : nil
    }

    /// Waits until something is known of the outputs, before they are read.
    ///
    /// - Throws: why the batch was refused.
    func begin() async throws(EngineError) { try await board.begin() }

    /// An iterator; use one only.
    public func makeAsyncIterator() -> Iterator { Iterator(batch: self, signals: board.signals.makeAsyncIterator()) }

    /// Waits for changes.
    public struct Iterator: AsyncIteratorProtocol {
        fileprivate let batch: TextBatch
        fileprivate var signals: AsyncStream<Void>.Iterator

        /// Waits until an output has changed; nil after the last.
        ///
        /// - Throws: why the batch was refused.
        public mutating func next() async throws(EngineError) -> [IndexedOutput]? {
            while true {
                let changed = batch.board.takeChanged()
                if !changed.isEmpty { return changed }
                guard await signals.next() != nil else {
                    let last = batch.board.takeChanged()
                    if !last.isEmpty { return last }
                    try batch.board.check()
                    return nil
                }
            }
        }
    }
}

/// The latest output of each request, until the reader takes it. Shared state under one `Mutex`.
final class OutputBoard: Sendable {
    /// Ticks when something changed; ends after `close()`.
    let signals: AsyncStream<Void>
    private let signal: AsyncStream<Void>.Continuation
    private let state: Mutex<State>

    private struct State {
        var latest: [TextOutput?]
        var refusal: EngineError?
    }

    init(count: Int) {
        state = Mutex(State(latest: Array(repeating: nil, count: count)))
        (signals, signal) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    /// Replaces the output at `index`.
    func publish(_ output: TextOutput, at index: Int) {
        state.withLock { $0.latest[index] = output }
        signal.yield()
    }

    /// Nothing more will be published, perhaps because of `refusal`.
    func close(_ refusal: EngineError?) {
        state.withLock { $0.refusal = refusal }
        signal.finish()
    }

    /// Throws why nothing more will be published, if there is a reason.
    func check() throws(EngineError) {
        if let refusal = state.withLock({ $0.refusal }) { throw refusal }
    }

    /// Waits until something is published or nothing will be.
    func begin() async throws(EngineError) {
        for await _ in signals {
            // For whoever reads next.
            signal.yield()
            return
        }
        try check()
    }

    /// What changed since the last call, in order of index.
    func takeChanged() -> [IndexedOutput] {
        state.withLock { state in
            var changed: [IndexedOutput] = []
            for index in state.latest.indices {
                guard let output = state.latest[index] else { continue }
                state.latest[index] = nil
                changed.append(IndexedOutput(index: index, output: output))
            }
            return changed
        }
    }
}
