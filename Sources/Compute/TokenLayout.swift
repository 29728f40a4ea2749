// TokenLayout: which token of a pass belongs to which sequence, and where that sequence's keys and values lie.

/// The tokens of one pass. Pointers belong to the caller and stay valid while the pass runs.
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

    /// The tokens of one pass.
    public init(
        count: Int, ids: UnsafePointer<Int32>, positions: UnsafePointer<Int32>, sequences: UnsafePointer<Int32>,
        pageTables: UnsafePointer<Int32>, tableStride: Int
    ) {
        self.count = count
        self.ids = ids
        self.positions = positions
        self.sequences = sequences
        self.pageTables = pageTables
        self.tableStride = tableStride
    }
}

/// Keys and values of all layers, in pages of `KVCache.pageSize` positions.
public struct KVCache: Sendable {
    /// Positions in a page.
    public static let pageSize = 16

    /// Pages per layer.
    public let pages: Int
    /// Key-value heads.
    public let heads: Int
    /// Floats in a head.
    public let headDimension: Int
    let keys: [Buffer]  // per layer [pages, heads, headDimension, 16]
    let values: [Buffer]  // per layer [pages, heads, 16, headDimension]

    /// An uninitialised cache. Memory is touched, and so taken, page by page as it is used.
    public init(layers: Int, pages: Int, heads: Int, headDimension: Int) {
        self.pages = pages
        self.heads = heads
        self.headDimension = headDimension
        let width = heads * headDimension * Self.pageSize
        keys = (0..<layers).map { _ in Buffer(rows: pages, width: width, usesHugePages: false) }
        values = (0..<layers).map { _ in Buffer(rows: pages, width: width, usesHugePages: false) }
    }

    /// Bytes that one token takes in all layers.
    public static func bytesPerToken(layers: Int, heads: Int, headDimension: Int) -> Int {
        2 * layers * heads * headDimension * MemoryLayout<Float>.stride
    }
}
