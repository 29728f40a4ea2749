// RoutingError: inputs that cannot be routed.

/// An input that cannot be routed.
public enum RoutingError: Error, Equatable, CustomStringConvertible {
    /// The first id that is neither -1 nor in `0 ..< experts`, and its place in the flattened ids.
    case expertOutOfRange(position: Int, id: Int32, experts: Int)
    /// E must be positive, and so must the block size.
    case badSize(experts: Int, blockSize: Int)
    /// An expert map must have one entry per expert: a local id, used once, or -1.
    case badMap(expert: Int, local: Int, experts: Int)
    /// An expert map of another length than E.
    case mapLength(Int, experts: Int)
    /// The rows that may be needed do not fit 32-bit indices.
    case tooLarge(pairs: Int, experts: Int, blockSize: Int)
    /// Memory lent for the result holds fewer rows than this input needs.
    case outputTooSmall(rows: Int, needed: Int)

    /// The fact in one line.
    public var description: String {
        switch self {
        case .expertOutOfRange(let position, let id, let experts):
            "expert id \(id) at position \(position): expected 0 ..< \(experts), or -1 for a padded pair"
        case .badSize(let experts, let blockSize):
            "\(experts) experts in blocks of \(blockSize): both must be from 1 to \(BlockRule.largestSize)"
        case .badMap(let expert, let local, let experts):
            "the expert map gives expert \(expert) the local id \(local): "
                + "expected -1 or an id in 0 ..< \(experts) that no other expert has"
        case .mapLength(let length, let experts):
            "an expert map of \(length) entries for \(experts) experts: expected one entry per expert"
        case .tooLarge(let pairs, let experts, let blockSize):
            "\(pairs) pairs of \(experts) experts in blocks of \(blockSize) exceed 32-bit indices: use smaller blocks "
                + "or fewer pairs at once"
        case .outputTooSmall(let rows, let needed):
            "room for \(rows) rows, \(needed) needed"
        }
    }
}
