// ArchiveValue: what a `.pt` dump can hold.

/// A value in an archive.
public indirect enum ArchiveValue: Sendable, Equatable {
    /// Python's None.
    case null
    /// A truth value.
    case bool(Bool)
    /// A whole number.
    case int(Int)
    /// A float64.
    case float(Double)
    /// A text.
    case string(String)
    /// A list.
    case list([ArchiveValue])
    /// A dictionary with string keys, in writing order.
    case dictionary([Entry])
    /// A tensor on the CPU.
    case tensor(ArchiveTensor)

    /// One key of a dictionary and its value.
    public struct Entry: Sendable, Equatable {
        /// The key.
        public var key: String
        /// What it stands for.
        public var value: ArchiveValue

        /// One entry.
        public init(_ key: String, _ value: ArchiveValue) {
            self.key = key
            self.value = value
        }
    }
}

/// A contiguous row-major tensor.
public struct ArchiveTensor: Sendable, Equatable {
    /// The elements by type.
    public enum Elements: Sendable, Equatable {
        /// int32.
        case int32([Int32])
        /// int64.
        case int64([Int64])
        /// float32.
        case float32([Float])

        /// How many there are.
        public var count: Int {
            switch self {
            case .int32(let elements): elements.count
            case .int64(let elements): elements.count
            case .float32(let elements): elements.count
            }
        }

        /// The elements' bytes as they lie in memory.
        func withBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
            switch self {
            case .int32(let elements): try elements.withUnsafeBytes(body)
            case .int64(let elements): try elements.withUnsafeBytes(body)
            case .float32(let elements): try elements.withUnsafeBytes(body)
            }
        }
    }

    /// Sizes, outermost first; empty for a scalar.
    public let shape: [Int]
    /// The elements, row-major.
    public let elements: Elements

    /// A tensor; the shape's product is the number of elements.
    public init(shape: [Int], elements: Elements) {
        precondition(shape.reduce(1, *) == elements.count, "\(elements.count) elements for the shape \(shape)")
        self.shape = shape
        self.elements = elements
    }

    /// Elements to the next index of each dimension; a size of zero counts as one.
    var strides: [Int] {
        var strides: [Int] = []
        var step = 1
        for size in shape.reversed() {
            strides.append(step)
            step *= max(size, 1)
        }
        return strides.reversed()
    }
}
