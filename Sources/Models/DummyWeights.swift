// DummyWeights: seeded random weights of any shape, to run a configuration without its files.
//
// The same seed, name and shape give the same numbers, whatever else is made and in what order. Matrices are scaled so
// that activations keep their size from layer to layer.

public import Compute

/// Weights that are made up when they are asked for.
public struct DummyWeights: WeightSource {
    private let seed: UInt64
    private let dtype: DType

    /// Weights of the type that `configuration` names: float32, or bfloat16 for all else.
    public init(_ configuration: ModelConfiguration, seed: UInt64) {
        self.seed = seed
        dtype = configuration.dtype == .float32 ? .float32 : .bfloat16
    }

    /// Numbers around 0; around 1 for norms, and none for biases.
    public func tensor(_ name: String, shape: [Int], scaleBlocks: ScaleBlocks) throws(ModelFileError) -> Tensor {
        let hollow = Tensor(name: name, dtype: dtype, shape: shape, owner: Self.nothing)
        // Uniform numbers of ±a have the size a / √3.
        let size = shape.count > 1 ? Float(3 / Double(max(1, shape[shape.count - 1]))).squareRoot() : 0.1
        let center: Float = name.hasSuffix("norm.weight") ? 1 : 0
        let isBias = name.hasSuffix("bias")
        do {
            let bytes = try MappedBytes(byteCount: hollow.byteCount, name: "dummy weights") { bytes in
                // Fresh memory is zero already.
                if isBias { return }
                let start = name.utf8.reduce(seed ^ 0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
                if dtype == .float32 {
                    Self.fill(bytes.bindMemory(to: UInt32.self), from: start, center: center, size: size) { $0 }
                } else {
                    Self.fill(bytes.bindMemory(to: UInt16.self), from: start, center: center, size: size) {
                        UInt16(truncatingIfNeeded: $0 >> 16)
                    }
                }
            }
            return Tensor(name: name, dtype: dtype, shape: shape, owner: bytes)
        } catch {
            throw ModelFileError(
                file: error.path, item: name, found: error.reason, expected: "\(hollow.byteCount) bytes of memory")
        }
    }

    /// Numbers uniform around `center`, four from each draw of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
    @inline(__always)
    private static func fill<Element>(
        _ numbers: UnsafeMutableBufferPointer<Element>, from start: UInt64, center: Float, size: Float,
        _ element: (UInt32) -> Element
    ) {
        let step = size * 0x1p-15
        var state = start
        var index = 0
        while index < numbers.count {
            state &+= 0x9E37_79B9_7F4A_7C15
            var bits = (state ^ (state >> 30)) &* 0xBF58_476D_1CE4_E5B9
            bits = (bits ^ (bits >> 27)) &* 0x94D0_49BB_1331_11EB
            bits ^= bits >> 31
            let end = min(index + 4, numbers.count)
            while index < end {
                numbers[index] = element((center + Float(Int16(truncatingIfNeeded: bits)) * step).bitPattern)
                bits >>= 16
                index += 1
            }
        }
    }

    private static let nothing = MappedBytes(permanent: UnsafeRawBufferPointer(start: nil, count: 0), name: "")
}
