// TextBatch: the outputs of the generations that one caller started together, as they grow.
//
// Outputs are cumulative, so a slow reader misses nothing when only the latest of each is kept: tokens that become
// ready while it is busy arrive as one update. Whoever drops the batch, or cancels it, frees the engine's places.

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
    ///   - work: publishes outputs; it is cancelled when the batch is dropped.
    init(count: Int, _ work: @escaping @Sendable (OutputBoard) async -> Void) {
        let board = OutputBoard(count: count)
        self.count = count
        self.board = board
        pump = Task {
            await work(board)
            board.close()
        }
    }

    deinit { pump.cancel() }

    /// Ends all generations that still run; the sequence ends soon after.
    public func cancel() { pump.cancel() }

    /// All outputs once they are done; nil when the batch was cancelled before.
    public func finished() async -> [TextOutput]? {
        var outputs = [TextOutput?](repeating: nil, count: count)
        for await updates in self {
            for update in updates { outputs[update.index] = update.output }
        }
        let complete = outputs.compactMap { $0?.finish == nil ? nil : $0 }
        return complete.count == count ? complete : nil
    }

    /// An iterator; use one only.
    public func makeAsyncIterator() -> Iterator { Iterator(batch: self, signals: board.signals.makeAsyncIterator()) }

    /// Waits for changes.
    public struct Iterator: AsyncIteratorProtocol {
        fileprivate let batch: TextBatch
        fileprivate var signals: AsyncStream<Void>.Iterator

        /// Waits until an output has changed; nil after the last.
        public mutating func next() async -> [IndexedOutput]? {
            while true {
                let changed = batch.board.takeChanged()
                if !changed.isEmpty { return changed }
                guard await signals.next() != nil else {
                    let last = batch.board.takeChanged()
                    return last.isEmpty ? nil : last
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
    private let latest: Mutex<[TextOutput?]>

    init(count: Int) {
        latest = Mutex(Array(repeating: nil, count: count))
        (signals, signal) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    /// Replaces the output at `index`.
    func publish(_ output: TextOutput, at index: Int) {
        latest.withLock { $0[index] = output }
        signal.yield()
    }

    /// Nothing more will be published.
    func close() { signal.finish() }

    /// What changed since the last call, in order of index.
    func takeChanged() -> [IndexedOutput] {
        latest.withLock { outputs in
            var changed: [IndexedOutput] = []
            for index in outputs.indices {
                guard let output = outputs[index] else { continue }
                outputs[index] = nil
                changed.append(IndexedOutput(index: index, output: output))
            }
            return changed
        }
    }
}
