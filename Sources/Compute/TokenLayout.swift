// TokenLayout: which token of a pass belongs to which sequence, and where that sequence's keys and values lie.

/// The tokens of one pass: generated ones, then those of prompts. Pointers belong to the caller and stay valid while the pass
/// runs.
public struct TokenLayout {
    /// Tokens in the pass, N.
    public var count: Int
    /// Token ids, `[N]`.
    public var ids: UnsafePointer<Int32>
    /// Position of each token in its sequence, `[N]`.
    public var positions: UnsafePointer<Int32>
    /// Row of `pageTables` of each token, `[N]`.
    public var sequences: UnsafePointer<Int32>
    /// Pages of each sequence, `[sequences, tableStride]`: entry i holds positions `16 i ..< 16 (i + 1)`.
    public var pageTables: UnsafePointer<Int32>
    /// Entries from one sequence's table to the next.
    public var tableStride: Int
    /// The first token that belongs to its request's prompt: those before were generated. Of interest only to models that
    /// compute the two in different ways.
    public var promptStart: Int

    /// The tokens of one pass, all of prompts unless `promptStart` says otherwise.
    public init(
        count: Int, ids: UnsafePointer<Int32>, positions: UnsafePointer<Int32>, sequences: UnsafePointer<Int32>,
        pageTables: UnsafePointer<Int32>, tableStride: Int, promptStart: Int = 0
    ) {
        self.count = count
        self.ids = ids
        self.positions = positions
        self.sequences = sequences
        self.pageTables = pageTables
        self.tableStride = tableStride
        self.promptStart = promptStart
    }
}

/// What a layer keeps of every position.
public struct CacheShape: Sendable, Equatable {
    /// Key-value heads.
    public var heads: Int
    /// Numbers in a key, and in a value if there are values.
    public var headDimension: Int
    /// Whether values are kept beside the keys. Without, a value is the beginning of its key (multi-head latent attention).
    public var hasValues: Bool
    /// What the numbers are kept as.
    public var type: CacheType

    /// Keys, and values if `hasValues`, of `heads` heads.
    public init(heads: Int, headDimension: Int, hasValues: Bool = true, type: CacheType = .float32) {
        self.heads = heads
        self.headDimension = headDimension
        self.hasValues = hasValues
        self.type = type
    }

    /// Bytes of one position in one layer.
    public var bytesPerToken: Int { (keyFloats + valueFloats) * MemoryLayout<Float>.stride / KVCache.pageSize }

    /// Floats that the keys of a page take the room of.
    var keyFloats: Int { heads * (type == .float32 ? headDimension : (headDimension + 1) / 2) * KVCache.pageSize }

    /// Floats that the values of a page take the room of.
    var valueFloats: Int {
        hasValues ? heads * headDimension * (type == .float32 ? KVCache.pageSize : KVCache.pageSize / 2) : 0
    }
}

/// What keys and values are kept as. Scores and sums are single precision either way.
public enum CacheType: String, Sendable, CaseIterable {
    /// As they are computed.
    case float32
    /// Rounded to bfloat16: half the memory, and half of what attention reads.
    case bfloat16
}

/// Keys and values of all layers, in pages of `KVCache.pageSize` positions.
public struct KVCache: Sendable {
    /// Positions in a page.
    public static let pageSize = 16

    /// Pages per layer.
    public let pages: Int
    /// What a page holds.
    public let shape: CacheShape
    let keys: [Buffer]  // per layer [pages, heads, headDimension, 16]; in bfloat16 [pages, heads, pairs, 16, 2]
    let values: [Buffer]  // per layer [pages, heads, 16, headDimension], or none

    /// An uninitialised cache. Memory is taken as it is touched, a huge page at a time: sequences lie scattered in it, and small
    /// pages would be more than a processor can find at once.
    public init(layers: Int, pages: Int, shape: CacheShape) {
        self.pages = pages
        self.shape = shape
        func buffers(_ count: Int, _ width: Int) -> [Buffer] {
            (0..<count).map { _ in Buffer(rows: pages, width: width) }
        }
        keys = buffers(layers, shape.keyFloats)
        values = buffers(shape.hasValues ? layers : 0, shape.valueFloats)
    }
}
