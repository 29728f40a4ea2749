// GenerationStream: the events of requests that were submitted together, on their way from the engine to whoever asked.
//
// The reader takes all that has come since it last looked, so that one wake-up serves many tokens when it is slow, and
// the engine never waits for it. Engine and reader hold an end each: when the reader drops its end, or cancels, the engine
// is told which requests nobody waits for any more.
//
// Shared state: one `Mutex` in `Mailbox`.

internal import Synchronization

/// An event of one of the requests that were submitted together.
public struct GenerationUpdate: Sendable {
    /// The place of the request in what was submitted.
    public var index: Int
    /// What happened.
    public var event: GenerationEvent
    /// When it happened.
    public var time: ContinuousClock.Instant
}

/// The events of requests that were submitted together, each request's in their order. Dropping the stream cancels them.
public final class GenerationStream: AsyncSequence, Sendable {
    /// When the reader is woken.
    public enum Pace: Sendable, Equatable {
        /// With a request's first token, whenever so many more have come, and when it has finished.
        case tokens(Int)
        /// When a request has finished, for whom nothing but the whole is of use.
        case finished
    }

    private let mailbox: Mailbox

    fileprivate init(_ mailbox: Mailbox) { self.mailbox = mailbox }

    deinit { cancel() }

    /// Makes a stream of the events of `count` requests.
    ///
    /// - Parameters:
    ///   - count: how many requests there are.
    ///   - pace: when the reader is woken.
    ///   - onStop: called with the place of a request that shall end before it has finished, from any thread.
    /// - Returns: an end for the reader, and one for the engine.
    public static func makeStream(
        count: Int, pace: Pace = .tokens(1), onStop: @escaping @Sendable (Int) -> Void
    ) -> (stream: GenerationStream, source: GenerationSource) {
        let mailbox = Mailbox(count: count, pace: pace, onStop: onStop)
        return (GenerationStream(mailbox), GenerationSource(mailbox))
    }

    /// Asks the engine to end one request; what it has to say of it may still come.
    public func stop(_ index: Int) { mailbox.stop(index) }

    /// Ends all requests that still run; nothing more is read.
    public func cancel() { mailbox.cancel() }

    /// Whether the reader has given the requests up.
    public var isCancelled: Bool { mailbox.isCancelled }

    /// An iterator; use one at a time.
    public func makeAsyncIterator() -> Iterator { Iterator(stream: self) }

    /// Waits for events.
    public struct Iterator: AsyncIteratorProtocol, Sendable {
        fileprivate let stream: GenerationStream

        /// What has come since the last call; waits until that is worth it. Nil after the last event, and in a cancelled task, which
        /// cancels the requests.
        public mutating func next() async -> [GenerationUpdate]? {
            let mailbox = stream.mailbox
            return await withTaskCancellationHandler {
                await withCheckedContinuation { mailbox.take($0) }
            } onCancel: {
                mailbox.cancel()
            }
        }
    }
}

/// Where the engine puts events. When the last holder lets it go, the stream ends.
public final class GenerationSource: Sendable {
    private let mailbox: Mailbox

    fileprivate init(_ mailbox: Mailbox) { self.mailbox = mailbox }

    deinit { mailbox.close() }

    /// Adds an event of the request at `index`; `.finished` is its last.
    public func send(_ event: GenerationEvent, of index: Int) {
        mailbox.add(GenerationUpdate(index: index, event: event, time: .now))
    }
}

/// Events that the reader has not taken yet.
private final class Mailbox: Sendable {
    private typealias Reader = CheckedContinuation<[GenerationUpdate]?, Never>

    private struct State {
        var updates: [GenerationUpdate] = []
        var reader: Reader?
        /// Whether `updates` are worth a wake-up.
        var isDue = false
        /// Of each request: whether it may still have events.
        var runs: [Bool]
        /// Of each request: how many tokens make `updates` due.
        var wanted: [Int]
        var isClosed = false
        var isCancelled = false
    }

    var isCancelled: Bool { state.withLock { $0.isCancelled } }

    private let interval: Int
    private let onStop: @Sendable (Int) -> Void
    private let state: Mutex<State>

    init(count: Int, pace: GenerationStream.Pace, onStop: @escaping @Sendable (Int) -> Void) {
        self.onStop = onStop
        let first: Int
        switch pace {
        case .tokens(let count): (first, interval) = (1, max(1, count))
        case .finished: (first, interval) = (.max, .max)
        }
        state = Mutex(
            State(
                runs: Array(repeating: true, count: count), wanted: Array(repeating: first, count: count),
                isClosed: count == 0))
    }

    func add(_ update: GenerationUpdate) {
        let woken = state.withLock { state -> (Reader, [GenerationUpdate])? in
            guard !state.isClosed, state.runs[update.index] else { return nil }
            state.updates.append(update)
            switch update.event {
            case .token:
                state.wanted[update.index] -= 1
                if state.wanted[update.index] == 0 {
                    state.wanted[update.index] = interval
                    state.isDue = true
                }
            case .finished:
                state.runs[update.index] = false
                state.isClosed = !state.runs.contains(true)
                state.isDue = true
            case .prompt, .routedExperts: break
            }
            guard state.isDue, let reader = state.reader else { return nil }
            state.reader = nil
            return (reader, Self.take(&state))
        }
        if let (reader, updates) = woken { reader.resume(returning: updates) }
    }

    /// Resumes `reader` when there is something to read, or nothing will be.
    func take(_ reader: CheckedContinuation<[GenerationUpdate]?, Never>) {
        let updates = state.withLock { state -> [GenerationUpdate]?? in
            if state.isDue || (state.isClosed && !state.updates.isEmpty) { return .some(Self.take(&state)) }
            if state.isClosed { return .some(nil) }
            precondition(state.reader == nil, "two tasks read one stream")
            state.reader = reader
            return nil
        }
        if let updates { reader.resume(returning: updates) }
    }

    private static func take(_ state: inout State) -> [GenerationUpdate] {
        defer { state.updates = [] }
        state.isDue = false
        return state.updates
    }

    func stop(_ index: Int) {
        if state.withLock({ !$0.isClosed && $0.runs[index] }) { onStop(index) }
    }

    func cancel() {
        let (reader, running) = state.withLock { state in
            defer {
                state.reader = nil
                state.updates = []
                state.isDue = false
                state.isCancelled = true
                state.isClosed = true
            }
            return (state.reader, state.isClosed ? [] : state.runs.indices.filter { state.runs[$0] })
        }
        reader?.resume(returning: nil)
        for index in running { onStop(index) }
    }

    func close() {
        let woken = state.withLock { state in
            defer { state.reader = nil }
            state.isClosed = true
            return state.reader.map { ($0, state.updates.isEmpty ? nil : Self.take(&state)) }
        }
        if let (reader, updates) = woken { reader.resume(returning: updates) }
    }
}
