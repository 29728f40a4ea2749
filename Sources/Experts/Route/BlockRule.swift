// BlockRule: how pairs become blocks: how many experts, how long a block, and what happens to pairs of other ranks.

/// How routed pairs are grouped into blocks; a value that is made once and serves every pass.
public struct BlockRule: Sendable, Equatable {
    /// What becomes of pairs whose expert is not on this rank: id -1, or an expert that the map sends to -1.
    public enum ForeignPairs: Sendable, Equatable {
        /// They take no rows.
        case dropped
        /// They take rows in blocks of their own, whose expert is -1, and which a grouped GEMM skips. Pairs with id -1
        /// come first; an expert that the map sends to -1 stays where its global id puts it.
        case ownBlocks
    }

    /// Where the experts of a model lie on one rank.
    public struct ExpertMap: Sendable, Equatable {
        /// Local id of each global expert, or -1; `[E]`.
        public let local: [Int32]
        /// Global experts of this rank by ascending local id.
        let residents: [Int32]

        /// The map that `local` describes.
        ///
        /// - Parameter local: `[E]`; each entry is -1, or a local id below E that no other expert has.
        /// - Throws: `RoutingError.badMap` for the first other entry.
        public init(_ local: [Int32]) throws(RoutingError) {
            var globals = [Int32](repeating: -1, count: local.count)
            for (expert, id) in local.enumerated() where id != -1 {
                guard id >= 0, id < local.count, globals[Int(id)] < 0 else {
                    throw .badMap(expert: expert, local: Int(id), experts: local.count)
                }
                globals[Int(id)] = Int32(truncatingIfNeeded: expert)
            }
            self.local = local
            residents = globals.filter { $0 >= 0 }
        }
    }

    /// E: ids are below this.
    public let experts: Int
    /// Rows per block; any positive number.
    public let blockSize: Int
    /// Where the experts lie on this rank; nil when all are here.
    public let map: ExpertMap?
    /// What becomes of pairs of other ranks.
    public let foreign: ForeignPairs

    /// The largest E and the largest block.
    static let largestSize = 1 << 24

    /// A rule from its parts.
    ///
    /// - Parameters:
    ///   - experts: E.
    ///   - blockSize: rows per block.
    ///   - map: where the experts lie on this rank; nil when all are here.
    ///   - foreign: what becomes of pairs of other ranks.
    /// - Throws: `RoutingError` for sizes that are not positive or absurd, and a map of another length than E.
    public init(
        experts: Int, blockSize: Int, map: ExpertMap? = nil, foreign: ForeignPairs = .dropped
    ) throws(RoutingError) {
        guard (1...Self.largestSize).contains(experts), (1...Self.largestSize).contains(blockSize) else {
            throw .badSize(experts: experts, blockSize: blockSize)
        }
        if let map, map.local.count != experts { throw .mapLength(map.local.count, experts: experts) }
        self.experts = experts
        self.blockSize = blockSize
        self.map = map
        self.foreign = foreign
    }

    /// Rows that suffice whatever the ids are: every expert may waste all but one row of a block.
    public func capacity(pairs: Int) -> Int {
        pairs + (foreign == .ownBlocks ? experts + 1 : experts) * (blockSize - 1)
    }
}
