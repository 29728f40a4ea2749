// PackedPlan: which matrices a model lays out, and in which order: what a file of them must hold.

/// The matrices of a model, in the order in which it loads them.
public struct PackedPlan: Sendable, Equatable {
    /// Bytes in a file, where each begins at a multiple of a page.
    public private(set) var byteCount = 0.0
    /// A hash of all that decides their bytes beside the weights themselves: names, rows, types, scales, layouts.
    public private(set) var digest = Digest()

    static let page = 4096

    /// Bytes that `byteCount` bytes take, up to where the next begin.
    static func padded(_ byteCount: Int) -> Int { (byteCount + page - 1) / page * page }

    mutating func add(_ matrices: [[TensorRows]], _ layout: PanelLayout) {
        let (size, overflow) = layout.stride.multipliedReportingOverflow(by: matrices.count)
        byteCount += overflow || size > 1 << 60 ? 0x1p60 : Double(Self.padded(size))
        digest.add("\(layout.outputs) \(layout.inputs) \(layout.isGated)")
        digest.add("\(layout.dtype) \(layout.precision) \(layout.isCompressed)")
        for stack in matrices {
            for part in stack {
                digest.add("\(part.tensor.name) \(part.tensor.dtype) \(part.tensor.shape) \(part.isTransposed)")
                if let blocks = part.tensor.scaleBlocks { digest.add("\(blocks.rows) \(blocks.columns)") }
                for row in part.rows ?? [] { digest.add(UInt64(truncatingIfNeeded: row)) }
            }
        }
    }
}

/// The 64-bit hash of Fowler, Noll and Vo, variant 1a: the same in every process, unlike `Hasher`'s.
public struct Digest: Sendable, Equatable {
    /// The hash of all that was added.
    public private(set) var value: UInt64 = 0xCBF2_9CE4_8422_2325

    /// The hash of nothing; of another stream for each seed.
    public init(seed: UInt64 = 0) { value ^= seed }

    /// Adds `bytes`.
    public mutating func add(_ bytes: some Sequence<UInt8>) {
        for byte in bytes { add(UInt64(byte)) }
    }

    /// Adds a number at once.
    mutating func add(_ number: UInt64) { value = (value ^ number) &* 0x100_0000_01B3 }

    /// Adds `text` and its end.
    public mutating func add(_ text: String) {
        add(text.utf8)
        add([0])
    }
}
