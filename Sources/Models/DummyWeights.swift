// DummyWeights: seeded random weights of any shape, to run a configuration without its files.
//
// The same seed, name and shape give the same numbers, whatever else is made, in what order and on how many threads. Matrices
// are scaled so that activations keep their size from layer to layer.

public import Compute
public import Experts

/// Weights that are made up when they are asked for.
public struct DummyWeights: WeightSource {
    private let seed: UInt64
    private let dtype: DType
    private let lanes: (any Lanes)?

    /// Weights of the type that `configuration` names, float32, or bfloat16 for all else; made on the threads of `lanes`, if
    /// somebody lends some.
    public init(_ configuration: ModelConfiguration, seed: UInt64, lanes: (any Lanes)? = nil) {
        self.seed = seed
        self.lanes = lanes
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
                var start = Digest(seed: seed)
                start.add(name.utf8)
                let lanes = self.lanes?.laneCount ?? 1
                if dtype == .float32 {
                    bytes.bindMemory(to: UInt32.self)
                } else {
                    bytes.bindMemory(to: UInt16.self)
                }
                let filling = Filling(
                    bytes: bytes, isWide: dtype == .float32, start: start.value, center: center, size: size,
                    lanes: lanes)
                guard let shared = self.lanes else { return filling.fill(0) }
                withUnsafePointer(to: filling) {
                    shared.forEachLane($0) { filling, lane in
                        filling.assumingMemoryBound(to: Filling.self).pointee.fill(lane)
                    }
                }
            }
            return Tensor(name: name, dtype: dtype, shape: shape, owner: bytes)
        } catch {
            throw ModelFileError(
                file: error.path, item: name, found: error.reason, expected: "\(hollow.byteCount) bytes of memory")
        }
    }

    private static let nothing = MappedBytes(permanent: UnsafeRawBufferPointer(start: nil, count: 0), name: "")
}

/// Fills memory with numbers uniform around `center`, four from each draw of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
/// The generator's state is a sum, so every lane can begin where the one before it will end.
private struct Filling {
    var bytes: UnsafeMutableRawBufferPointer
    var isWide: Bool
    var start: UInt64
    var center: Float
    var size: Float
    var lanes: Int

    func fill(_ lane: Int) {
        if isWide {
            fill(bytes.assumingMemoryBound(to: UInt32.self), lane) { $0 }
        } else {
            fill(bytes.assumingMemoryBound(to: UInt16.self), lane) { UInt16(truncatingIfNeeded: $0 >> 16) }
        }
    }

    @inline(__always)
    private func fill<Element>(
        _ numbers: UnsafeMutableBufferPointer<Element>, _ lane: Int, _ element: (UInt32) -> Element
    ) {
        let step = size * 0x1p-15
        let draws = (numbers.count + 3) / 4
        let share = (draws + lanes - 1) / lanes
        let last = min(4 * (lane + 1) * share, numbers.count)
        var index = 4 * lane * share
        var state = start &+ UInt64(truncatingIfNeeded: lane * share) &* 0x9E37_79B9_7F4A_7C15
        while index < last {
            state &+= 0x9E37_79B9_7F4A_7C15
            var bits = (state ^ (state >> 30)) &* 0xBF58_476D_1CE4_E5B9
            bits = (bits ^ (bits >> 27)) &* 0x94D0_49BB_1331_11EB
            bits ^= bits >> 31
            let end = min(index + 4, last)
            while index < end {
                numbers[index] = element((center + Float(Int16(truncatingIfNeeded: bits)) * step).bitPattern)
                bits >>= 16
                index += 1
            }
        }
    }
}
