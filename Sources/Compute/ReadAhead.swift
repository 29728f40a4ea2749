// ReadAhead: has the system read weights before they are laid out, so that disk and processors work at the same time.
//
// Owner: whoever lays them out, on one thread. The system is asked on a queue of its own, because asking takes as long as it
// takes to find memory for what is read.

internal import Dispatch
internal import Synchronization

/// Asks for tensors in the order in which they are laid out, some way ahead.
public final class ReadAhead {
    private let tensors: [Tensor]
    private let fetch: @Sendable (Tensor, Range<Int>) -> Void
    private let queue = DispatchQueue(label: "switchyard.read-ahead")
    /// The first tensor of which something has not been asked for, and how much of it has been.
    private var next = (tensor: 0, byte: 0)
    /// Bytes of all tensors that have been asked for.
    private var asked = 0
    private let position = Position()

    /// How many bytes of all tensors have been laid out.
    private final class Position: Sendable {
        let bytes = Atomic<Int>(0)
    }

    /// Bytes that are asked for at once.
    static let piece = 8 << 20
    /// How far ahead of what is laid out, in bytes.
    static let distance = 128 << 20

    /// Asks for the first of `tensors`.
    public convenience init(_ tensors: [Tensor]) {
        self.init(tensors) { $0.fetch($1) }
    }

    /// As above, asking through `fetch`, which gets a range of a tensor's bytes.
    init(_ tensors: [Tensor], fetch: @escaping @Sendable (Tensor, Range<Int>) -> Void) {
        self.tensors = tensors
        self.fetch = fetch
        advance(to: 0)
    }

    /// Asks for more, as `bytes` of the tensors have been laid out.
    public func advance(to bytes: Int) {
        position.bytes.store(bytes, ordering: .relaxed)
        while next.tensor < tensors.count, asked - bytes < Self.distance {
            let tensor = tensors[next.tensor]
            let range = next.byte..<min(next.byte + Self.piece, tensor.byteCount)
            asked += range.count
            queue.async { [position, fetch, end = asked] in
                // What is laid out already would only be read again.
                if end > position.bytes.load(ordering: .relaxed) { fetch(tensor, range) }
            }
            next = range.upperBound < tensor.byteCount ? (next.tensor, range.upperBound) : (next.tensor + 1, 0)
        }
    }

    /// Waits until all that was asked for has been asked of the system.
    func finish() { queue.sync {} }
}
