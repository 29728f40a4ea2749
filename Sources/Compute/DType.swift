// DType: the element types that checkpoints hold.

internal import CPUKernels

/// The type of a tensor's elements.
public enum DType: String, Sendable, CaseIterable {
    case float32 = "F32"
    case bfloat16 = "BF16"
    case float16 = "F16"
    /// 8-bit float with four exponent and three fraction bits.
    case float8 = "F8_E4M3"
    case float64 = "F64"
    case int64 = "I64"
    case int32 = "I32"
    case int16 = "I16"
    case int8 = "I8"
    case uint8 = "U8"
    case bool = "BOOL"

    /// Bytes per element.
    public var size: Int {
        switch self {
        case .float64, .int64: 8
        case .float32, .int32: 4
        case .bfloat16, .float16, .int16: 2
        case .float8, .int8, .uint8, .bool: 1
        }
    }

    /// The kernels' name for the type; nil for what they cannot read.
    var kernelType: cpu_type? {
        switch self {
        case .float32: CPU_F32
        case .bfloat16: CPU_BF16
        case .float16: CPU_F16
        case .float8: CPU_E4M3
        default: nil
        }
    }
}
