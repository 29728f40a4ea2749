// CPUBackend+Weights: checkpoint rows into panels, 32 outputs side by side.
//
// Documented in Backend.
// swift-format-ignore-file: AllPublicDeclarationsHaveDocumentation

internal import CPUKernels

extension CPUBackend {
    /// Changes whenever panels lie otherwise than before, or hold other codes for the same weights.
    static let layoutVersion = 4

    public func makeMatrix(
        _ matrices: [[TensorRows]], gated: Bool, precision: WeightPrecision, laidOut: ([TensorRows]) -> Void
    ) -> Matrix {
        var layout = layout(matrices, gated: gated, precision: precision)
        var storage = arena.take(layout.stride * matrices.count)
        for index in matrices.indices {
            if !pack(matrices[index], layout, into: storage.bytes.baseAddress! + index * layout.stride) {
                // Weights of too many sizes for compression: all that are side by side lie as they are.
                layout = PanelLayout(matrices, gated: gated, precision: precision, compresses: false)
                arena.takeBack(storage)
                storage = arena.take(layout.stride * matrices.count)
                for again in 0...index {
                    _ = pack(matrices[again], layout, into: storage.bytes.baseAddress! + again * layout.stride)
                }
            }
            laidOut(matrices[index])
        }
        return layout.matrix(count: matrices.count, storage: storage)
    }

    /// How matrices are laid out, if their weights allow.
    func layout(_ matrices: [[TensorRows]], gated: Bool, precision: WeightPrecision) -> PanelLayout {
        PanelLayout(matrices, gated: gated, precision: precision, compresses: kernels.has_bf12)
    }

    /// Lays out a stack; whether the layout holds its weights.
    private func pack(_ stack: [TensorRows], _ layout: PanelLayout, into target: UnsafeMutableRawPointer) -> Bool {
        precondition(stack.allSatisfy { $0.inputs == layout.inputs }, "unequal inputs in a stack")
        precondition(!stack[0].isTransposed || stack.count == 1 && !layout.isGated, "a transposed block in a stack")
        return withExtendedLifetime(stack) {
            pack(
                Self.rows(stack, gated: layout.isGated, panels: layout.panels), into: target, panels: layout.panels,
                outputs: layout.outputs, inputs: layout.inputs, transposed: stack[0].isTransposed,
                type: layout.packedType)
        }
    }

    /// The rows of a stack in the order of the panels, padded to whole ones; a transposed stack as it is.
    private static func rows(_ stack: [TensorRows], gated: Bool, panels: Int) -> [cpu_row] {
        if stack[0].isTransposed { return stack[0].kernelRows }
        var order = [cpu_row](repeating: cpu_row(), count: panels * Int(CPU_PANEL))
        guard gated else {
            for (place, row) in stack.flatMap(\.kernelRows).enumerated() { order[place] = row }
            return order
        }
        // A panel is 16 outputs of the gate, then the same of up.
        let width = Int(CPU_LANES)
        for (half, block) in stack.enumerated() {
            for (place, row) in block.kernelRows.enumerated() {
                order[(2 * (place / width) + half) * width + place % width] = row
            }
        }
        return order
    }

    public func makeVector(_ parts: [TensorRows]) -> Buffer {
        // The panels of a matrix of one input are its weights in order.
        let width = parts.reduce(0) { $0 + $1.count }
        let panels = Self.panels(width)
        let padded = Buffer(rows: panels, width: Int(CPU_PANEL))
        let isTransposed = parts.first?.isTransposed == true
        precondition(
            parts.allSatisfy { $0.inputs == 1 && $0.isTransposed == isTransposed }
                && (parts.count == 1 || !isTransposed), "a vector of several columns")
        withExtendedLifetime(parts) {
            _ = pack(
                Self.rows(parts, gated: false, panels: panels), into: UnsafeMutableRawPointer(padded.floats),
                panels: panels, outputs: width, inputs: 1, transposed: isTransposed, type: CPU_F32)
        }
        let buffer = Buffer(rows: 1, width: width)
        buffer.floats.update(from: padded.floats, count: width)
        return buffer
    }

    private func pack(
        _ rows: [cpu_row], into target: UnsafeMutableRawPointer, panels: Int, outputs: Int, inputs: Int,
        transposed: Bool, type: cpu_type
    ) -> Bool {
        var misfits = false
        rows.withUnsafeBufferPointer { rows in
            withUnsafeMutablePointer(to: &misfits) { misfits in
                run(
                    kernels.pack,
                    cpu_pack_args(
                        rows: rows.baseAddress, panels: target, inputs: inputs, outputs: outputs, type: type,
                        transposed: transposed, misfits: misfits),
                    items: panels, work: inputs * Int(CPU_PANEL))
            }
        }
        return !misfits
    }
}

/// What the panels of a stack take.
struct PanelLayout {
    let outputs: Int
    let inputs: Int
    let isGated: Bool
    let dtype: DType
    let precision: WeightPrecision
    /// Whether bfloat16 lies in twelve bits.
    let isCompressed: Bool
    /// Panels of one stack.
    let panels: Int
    /// Bytes of one stack.
    let stride: Int

    /// What panels take; where the kernels can, and it is exact, `compresses` puts bfloat16 into twelve bits.
    init(_ matrices: [[TensorRows]], gated: Bool, precision wanted: WeightPrecision, compresses: Bool) {
        let first = matrices[0][0]
        inputs = first.inputs
        outputs = gated ? first.outputs : matrices[0].reduce(0) { $0 + $1.outputs }
        isGated = gated
        // Mixed types meet in float32, which holds them all.
        let isBF16 = matrices.allSatisfy { $0.allSatisfy { $0.tensor.dtype == .bfloat16 } }
        panels = CPUBackend.panels(outputs, gated: gated)
        let group = Int(CPU_GROUP)
        precision =
            switch wanted {
            case .stored: .stored
            case .bfloat16: first.isTransposed ? .stored : .bfloat16
            case .int8, .int5: first.isTransposed || inputs % group > 0 ? .stored : wanted
            }
        dtype = isBF16 || precision == .bfloat16 ? .bfloat16 : .float32
        isCompressed =
            compresses && dtype == .bfloat16 && (precision == .bfloat16 || precision == .stored)
            && !first.isTransposed && inputs % 4 == 0 && inputs <= Int(CPU_BF12_INPUTS)
        let panelBytes =
            switch precision {
            // High bytes, the list of those that have no code, and units of four inputs.
            case _ where isCompressed: 64 + (inputs + 255) / 256 * 64 + inputs / 4 * 192
            // Bfloat16 inputs come in pairs.
            case .stored, .bfloat16: Int(CPU_PANEL) * (dtype == .bfloat16 ? (inputs + 1) / 2 * 2 : inputs) * dtype.size
            case .int8: Int(CPU_PANEL) * inputs / group * (2 + group)
            case .int5: Int(CPU_PANEL) * (4 + inputs / group * (1 + 4 * Int(CPU_INT5_WORDS)))
            }
        stride = panels * panelBytes
    }

    /// What `pack` makes of the rows.
    var packedType: cpu_type {
        switch precision {
        case _ where isCompressed: CPU_BF12
        case .stored, .bfloat16: dtype == .bfloat16 ? CPU_BF16 : CPU_F32
        case .int8: CPU_INT8
        case .int5: CPU_INT5
        }
    }

    func matrix(count: Int, storage: Storage) -> Matrix {
        Matrix(
            outputs: outputs, inputs: inputs, count: count, isGated: isGated, dtype: dtype, precision: precision,
            isCompressed: isCompressed, storage: storage)
    }
}

/// Adds up what the CPU's layouts will take, and makes none: its matrices have shapes, but no memory.
public final class CPULayoutSize: WeightLayout {
    /// Bytes in all.
    public private(set) var bytes = 0.0
    /// Every matrix, in order.
    public private(set) var plan = PackedPlan()

    private let compresses: Bool

    /// The layouts of the instruction set `instructionSet`; nil takes the best that this machine has.
    public init(instructionSet: String? = nil) {
        compresses = cpu_kernels_named(instructionSet)?.pointee.has_bf12 ?? false
    }

    public func makeMatrix(
        _ matrices: [[TensorRows]], gated: Bool, precision: WeightPrecision, laidOut: ([TensorRows]) -> Void
    ) -> Matrix {
        let layout = PanelLayout(matrices, gated: gated, precision: precision, compresses: compresses)
        bytes += Double(layout.stride) * Double(matrices.count)
        plan.add(matrices, layout)
        for stack in matrices { laidOut(stack) }
        return layout.matrix(count: matrices.count, storage: Storage(byteCount: 0))
    }

    public func makeVector(_ parts: [TensorRows]) -> Buffer {
        bytes += parts.reduce(0) { $0 + 4 * Double($1.count) }
        return Buffer(rows: 0, width: parts.reduce(0) { $0 + $1.count })
    }
}
