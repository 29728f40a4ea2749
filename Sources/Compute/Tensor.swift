// Tensor: a shape over bytes, and who keeps them alive. Always row-major and contiguous.

internal import CPUKernels

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
    /// Which file that was; nil for what was read from none.
    public var fileIdentity: FileIdentity? { owner.identity }
    private let owner: MappedBytes
    private let offset: Int
    /// The factors of an 8-bit matrix.
    private var scales: Scales?

    /// One factor for each block of a matrix.
    private struct Scales {
        var owner: MappedBytes
        var offset: Int
        var blocks: ScaleBlocks
    }

    /// The tensor at `offset` of `owner`; the caller has checked that it fits, or reads nothing but names and shapes.
    public init(name: String, dtype: DType, shape: [Int], owner: MappedBytes, offset: Int = 0) {
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

    /// Bytes in all, scales included.
    public var storedByteCount: Int {
        byteCount + (scales.map { scaleShape($0.blocks).reduce(4, *) } ?? 0)
    }

    /// The shape that the scales of this matrix have.
    public func scaleShape(_ blocks: ScaleBlocks) -> [Int] {
        [(shape[0] + blocks.rows - 1) / blocks.rows, (shape[1] + blocks.columns - 1) / blocks.columns]
    }

    /// How the scales of this matrix lie, if it has any.
    var scaleBlocks: ScaleBlocks? { scales?.blocks }

    /// This matrix, each element multiplied by the scale of its block.
    ///
    /// - Precondition: `scales` are float32 of shape `scaleShape(blocks)`.
    public func scaled(by scales: Tensor, blocks: ScaleBlocks) -> Tensor {
        precondition(
            scales.dtype == .float32 && scales.shape == scaleShape(blocks), "scales \(scales.shape) of \(shape)")
        var result = self
        result.scales = Scales(owner: scales.owner, offset: scales.offset, blocks: blocks)
        return result
    }

    /// Where row `row` lies; valid while the tensor lives. A vector is a matrix of one column.
    func kernelRow(_ row: Int) -> cpu_row {
        let width = shape.count > 1 ? shape[1] : 1
        let elements = owner.bytes.baseAddress.map { $0 + offset + row * width * dtype.size }
        guard let type = dtype.kernelType else { preconditionFailure("\(dtype) is no weight type") }
        var factors: UnsafePointer<Float>?
        if let scales {
            let first = scales.offset + row / scales.blocks.rows * scaleShape(scales.blocks)[1] * 4
            factors = scales.owner.bytes.baseAddress.map { ($0 + first).assumingMemoryBound(to: Float.self) }
        }
        return cpu_row(elements: elements, scales: factors, scale_columns: scales?.blocks.columns ?? 1, type: type)
    }

    /// Asks the system for the bytes in `range`, counted from the first, so that they are in memory when they are read.
    func fetch(_ range: Range<Int>) {
        owner.fetch(offset + range.lowerBound..<offset + range.upperBound)
    }

    /// Says that the tensor has been laid out and will not be read soon, if ever: its pages need not stay in memory.
    public func forget() {
        owner.forget(offset..<offset + byteCount)
    }

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

/// Rows of a checkpoint's matrix, or elements of a vector, in any order.
public struct TensorRows: Sendable {
    /// The matrix; a vector is one of a single column.
    public let tensor: Tensor
    /// The rows, in the order in which they are laid out; nil for all as they are.
    public let rows: [Int]?
    /// Whether a row holds the weights of one input, not of one output.
    public let isTransposed: Bool

    /// The rows `rows` (nil: all) of `tensor`.
    public init(_ tensor: Tensor, rows: [Int]? = nil, isTransposed: Bool = false) {
        self.tensor = tensor
        self.rows = rows
        self.isTransposed = isTransposed
        precondition(rows?.allSatisfy { $0 >= 0 && $0 < tensor.shape[0] } ?? true, "rows of \(tensor.shape)")
    }

    private var columns: Int { tensor.shape.count > 1 ? tensor.shape[1] : 1 }
    /// How many rows are laid out.
    var rowCount: Int { rows?.count ?? tensor.shape.first ?? 1 }
    /// Where each of them lies.
    var kernelRows: [cpu_row] { (0..<rowCount).map { tensor.kernelRow(rows?[$0] ?? $0) } }
    /// What the rows compute.
    public var outputs: Int { isTransposed ? columns : rowCount }
    /// What they compute it from.
    public var inputs: Int { isTransposed ? rowCount : columns }
    /// Number of elements.
    public var count: Int { rowCount * columns }
    /// Bytes that they take where they come from.
    public var storedByteCount: Int { rowCount * (tensor.storedByteCount / max(1, tensor.shape.first ?? 1)) }
}

/// A block of floats that a device computes with, `[rows, width]`.
public struct Buffer: Sendable {
    /// Floats per row.
    public let width: Int
    /// Rows that fit.
    public let rows: Int
    private let storage: Storage

    /// An uninitialised buffer.
    public init(rows: Int, width: Int) {
        self.rows = rows
        self.width = width
        storage = Storage(byteCount: rows * width * MemoryLayout<Float>.stride)
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

/// How exactly weights are kept.
public enum WeightPrecision: String, Sendable, CaseIterable {
    /// As the checkpoint has them: bfloat16, or float32 for all else.
    case stored
    /// bfloat16, to which wider weights are rounded, and so are the inputs of products; sums stay float32. What other engines
    /// compute in `bfloat16`.
    case bfloat16
    /// Symmetric, groups of 32 inputs with a bfloat16 scale: 8.5 bits for a weight. Inputs are rounded to bfloat16.
    case int8
    /// 32 numbers that are closer to one another near zero, groups of 32 inputs with a scale of 8 bits: 5.25 bits for a weight
    /// and 32 for each output. Inputs are rounded to bfloat16.
    case int5
}

/// A weight matrix, or one per expert, in the layout that a device computes with.
public struct Matrix: Sendable {
    /// What a matrix computes.
    public let outputs: Int
    /// What it computes that from.
    public let inputs: Int
    /// How many matrices, one for each expert or head.
    public let count: Int
    /// Whether gate and up panels alternate; `outputs` then counts the outputs of the pair.
    public let isGated: Bool
    /// Type of the elements in the layout, unless they are quantized.
    public let dtype: DType
    /// How exactly the elements are kept and multiplied.
    public let precision: WeightPrecision
    /// Whether bfloat16 lies in twelve bits a weight, of which it is read back bit for bit.
    public let isCompressed: Bool
    let storage: Storage

    /// Bytes from one matrix to the next.
    public var stride: Int { storage.bytes.count / count }

    /// Bytes of all of them.
    public var byteCount: Int { storage.bytes.count }
}
