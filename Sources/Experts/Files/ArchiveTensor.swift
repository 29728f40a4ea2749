// ArchiveTensor: a tensor in a `.pt` archive, its elements as they lie there and as plain numbers.

/// A contiguous row-major tensor.
public struct ArchiveTensor: Sendable, Equatable {
    /// The elements by type.
    public enum Elements: Sendable {
        /// Truth values.
        case bool([Bool])
        /// uint8.
        case uint8([UInt8])
        /// int8.
        case int8([Int8])
        /// int16.
        case int16([Int16])
        /// int32.
        case int32([Int32])
        /// int64.
        case int64([Int64])
        /// float16, as its bits.
        case float16(bits: [UInt16])
        /// bfloat16, as its bits: the upper half of a float32.
        case bfloat16(bits: [UInt16])
        /// float32.
        case float32([Float])
        /// float64.
        case float64([Double])
        /// int32 again, made whenever they are asked for, so that many large tensors need not exist at once.
        case made(count: Int, @Sendable () -> [Int32])
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
    var strides: [Int] { Self.strides(of: shape) }

    static func strides(of shape: [Int]) -> [Int] {
        var strides: [Int] = []
        var step = 1
        for size in shape.reversed() {
            strides.append(step)
            step &*= max(size, 1)  // beyond all bounds only for a tensor without elements
        }
        return strides.reversed()
    }
}

extension ArchiveTensor.Elements {
    /// How many there are.
    public var count: Int {
        switch self {
        case .bool(let elements): elements.count
        case .uint8(let elements): elements.count
        case .int8(let elements): elements.count
        case .int16(let elements): elements.count
        case .int32(let elements): elements.count
        case .int64(let elements): elements.count
        case .float16(let bits), .bfloat16(let bits): bits.count
        case .float32(let elements): elements.count
        case .float64(let elements): elements.count
        case .made(let count, _): count
        }
    }

    /// The elements as whole numbers, truth values as 0 and 1; nil when they are floats.
    public var integers: [Int64]? {
        switch self {
        case .bool(let elements): elements.map { $0 ? 1 : 0 }
        case .uint8(let elements): elements.map { Int64($0) }
        case .int8(let elements): elements.map { Int64($0) }
        case .int16(let elements): elements.map { Int64($0) }
        case .int32(let elements): elements.map { Int64($0) }
        case .int64(let elements): elements
        case .made(_, let make): make().map { Int64($0) }
        case .float16, .bfloat16, .float32, .float64: nil
        }
    }

    /// The elements as float64; exact for all but large int64.
    public var doubles: [Double] {
        switch self {
        case .float16(let bits): bits.map(Self.widen)
        case .bfloat16(let bits): bits.map { Double(Float(bitPattern: UInt32($0) << 16)) }
        case .float32(let elements): elements.map { Double($0) }
        case .float64(let elements): elements
        default: (integers ?? []).map { Double($0) }
        }
    }

    /// The value of a float16 with these bits.
    private static func widen(_ bits: UInt16) -> Double {
        let fraction = Double(bits & 0x3FF)
        let magnitude =
            switch Int(bits >> 10 & 0x1F) {
            case 0: fraction * 0x1p-24
            case 31: fraction == 0 ? Double.infinity : .nan
            case let exponent: (1024 + fraction) * Double(sign: .plus, exponent: exponent - 25, significand: 1)
            }
        return bits >> 15 == 0 ? magnitude : -magnitude
    }

    /// The elements' bytes as they lie in memory.
    func withBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
        switch self {
        case .bool(let elements): try elements.map { $0 ? 1 as UInt8 : 0 }.withUnsafeBytes(body)
        case .uint8(let elements): try elements.withUnsafeBytes(body)
        case .int8(let elements): try elements.withUnsafeBytes(body)
        case .int16(let elements): try elements.withUnsafeBytes(body)
        case .int32(let elements): try elements.withUnsafeBytes(body)
        case .int64(let elements): try elements.withUnsafeBytes(body)
        case .float16(let bits), .bfloat16(let bits): try bits.withUnsafeBytes(body)
        case .float32(let elements): try elements.withUnsafeBytes(body)
        case .float64(let elements): try elements.withUnsafeBytes(body)
        case .made(_, let make): try make().withUnsafeBytes(body)
        }
    }
}

extension ArchiveTensor.Elements: Equatable {
    /// Whether type and bits are equal.
    public static func == (first: Self, second: Self) -> Bool {
        guard first.type == second.type, first.count == second.count else { return false }
        return first.withBytes { first in second.withBytes { first.elementsEqual($0) } }
    }
}

/// The element types that archives hold, by the class names that readers know them by.
enum ArchiveElementType: String, CaseIterable {
    case bool = "BoolStorage"
    case uint8 = "ByteStorage"
    case int8 = "CharStorage"
    case int16 = "ShortStorage"
    case int32 = "IntStorage"
    case int64 = "LongStorage"
    case float16 = "HalfStorage"
    case bfloat16 = "BFloat16Storage"
    case float32 = "FloatStorage"
    case float64 = "DoubleStorage"

    var storageClass: String { rawValue }

    var sizeInBytes: Int {
        switch self {
        case .bool, .uint8, .int8: 1
        case .int16, .float16, .bfloat16: 2
        case .int32, .float32: 4
        case .int64, .float64: 8
        }
    }
}

extension ArchiveTensor.Elements {
    var type: ArchiveElementType {
        switch self {
        case .bool: .bool
        case .uint8: .uint8
        case .int8: .int8
        case .int16: .int16
        case .int32, .made: .int32
        case .int64: .int64
        case .float16: .float16
        case .bfloat16: .bfloat16
        case .float32: .float32
        case .float64: .float64
        }
    }

    /// Gathers the elements that a strided view takes from a storage.
    ///
    /// - Parameters:
    ///   - type: of the storage.
    ///   - bytes: the storage, little-endian.
    ///   - offset: of the view's first element.
    ///   - shape: of the view; its product has been checked, and every index it reaches lies in `bytes`.
    ///   - strides: elements to the next index of each dimension.
    init(_ type: ArchiveElementType, _ bytes: UnsafeRawBufferPointer, offset: Int, shape: [Int], strides: [Int]) {
        func gather<Element: FixedWidthInteger & BitwiseCopyable>(_: Element.Type) -> [Element] {
            let count = shape.reduce(1, *)
            let isContiguous = strides == ArchiveTensor.strides(of: shape)
            return [Element](unsafeUninitializedCapacity: count) { elements, filled in
                if isContiguous, 1.littleEndian == 1 {
                    let first = offset * MemoryLayout<Element>.size
                    let size = count * MemoryLayout<Element>.size
                    if count > 0 {
                        UnsafeMutableRawBufferPointer(elements).copyMemory(
                            from: .init(rebasing: bytes[first..<first + size]))
                    }
                    filled = count
                    return
                }
                var indices = [Int](repeating: 0, count: shape.count)
                var at = offset
                while filled < count {
                    elements.initializeElement(
                        at: filled,
                        to: Element(
                            littleEndian: bytes.loadUnaligned(
                                fromByteOffset: at * MemoryLayout<Element>.size, as: Element.self)))
                    filled += 1
                    for dimension in shape.indices.reversed() {
                        indices[dimension] += 1
                        at &+= strides[dimension]  // may pass the end before it is taken back
                        if indices[dimension] < shape[dimension] { break }
                        at &-= strides[dimension] &* shape[dimension]
                        indices[dimension] = 0
                    }
                }
            }
        }
        self =
            switch type {
            case .bool: .bool(gather(UInt8.self).map { $0 != 0 })
            case .uint8: .uint8(gather(UInt8.self))
            case .int8: .int8(gather(Int8.self))
            case .int16: .int16(gather(Int16.self))
            case .int32: .int32(gather(Int32.self))
            case .int64: .int64(gather(Int64.self))
            case .float16: .float16(bits: gather(UInt16.self))
            case .bfloat16: .bfloat16(bits: gather(UInt16.self))
            case .float32: .float32(gather(UInt32.self).map(Float.init(bitPattern:)))
            case .float64: .float64(gather(UInt64.self).map(Double.init(bitPattern:)))
            }
    }
}
