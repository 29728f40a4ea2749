// Tensor: a shape over bytes, and who keeps them alive. Always row-major and contiguous.

/// A read-only array as it lies in a checkpoint.
public struct Tensor: Sendable {
    /// Its name in the checkpoint.
    public let name: String
    /// Element type.
    public let dtype: DType
    /// Extents, outermost first.
    public let shape: [Int]
    /// Where it was read from, for messages.
    public var file: String { owner.name }
    private let owner: MappedBytes
    private let offset: Int

    /// The tensor at `offset` of `owner`; the caller has checked that it fits.
    init(name: String, dtype: DType, shape: [Int], owner: MappedBytes, offset: Int) {
        self.name = name
        self.dtype = dtype
        self.shape = shape
        self.owner = owner
        self.offset = offset
    }

    /// Number of elements.
    public var count: Int { shape.reduce(1, *) }

    /// Bytes in all.
    public var byteCount: Int { count * dtype.size }

    /// Calls `body` with the tensor's bytes.
    public func withBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
        try withExtendedLifetime(owner) {
            try body(UnsafeRawBufferPointer(rebasing: owner.bytes[offset..<offset + byteCount]))
        }
    }
}

/// How the scales of an 8-bit matrix lie: one for each block of `rows` rows and `columns` columns.
public struct ScaleBlocks: Sendable, Equatable {
    /// Rows that share a scale.
    public var rows: Int
    /// Columns that share a scale.
    public var columns: Int

    /// Blocks of `rows` by `columns`; those of DeepSeek-V3 unless said otherwise.
    public init(rows: Int = 128, columns: Int = 128) {
        self.rows = rows
        self.columns = columns
    }
}

/// A block of floats that a device computes with, `[rows, width]`.
public struct Buffer: Sendable {
    /// Floats per row.
    public let width: Int
    /// Rows that fit.
    public let rows: Int
    private let storage: Storage

    /// An uninitialised buffer.
    public init(rows: Int, width: Int, usesHugePages: Bool = true) {
        self.rows = rows
        self.width = width
        storage = Storage(byteCount: rows * width * MemoryLayout<Float>.stride, usesHugePages: usesHugePages)
    }

    /// The first element of row 0.
    public var floats: UnsafeMutablePointer<Float> {
        UnsafeMutablePointer(OpaquePointer(storage.bytes.baseAddress!))
    }

    /// Row `index`.
    public subscript(row index: Int) -> UnsafeMutableBufferPointer<Float> {
        precondition(index >= 0 && index < rows, "row \(index) of a buffer of \(rows) rows")
        return UnsafeMutableBufferPointer(start: floats + index * width, count: width)
    }
}

/// A weight matrix, or one per expert, in the layout that a device computes with.
public struct Matrix: Sendable {
    /// Rows of the checkpoint's matrix.
    public let outputs: Int
    /// Columns of the checkpoint's matrix.
    public let inputs: Int
    /// How many matrices, one for each expert.
    public let count: Int
    /// Whether gate and up panels alternate; `outputs` then counts the outputs of the pair.
    public let isGated: Bool
    /// Type of the elements in the layout.
    public let dtype: DType
    let storage: Storage

    /// Bytes from one expert's matrix to the next.
    public var stride: Int { storage.bytes.count / count }
}
