// CPUBackend: the ops as C kernels over ranges, run on the worker pool.
//
// Owner: one engine; one pass at a time. Each op fills an argument block on the stack and hands it to the pool: no
// allocation, no lock per token.
//
// The ops are documented in Backend.
// swift-format-ignore-file: AllPublicDeclarationsHaveDocumentation

internal import CPUKernels
internal import Experts

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Darwin
#endif

/// Computes on the CPU, with the best instruction set that this machine has.
public final class CPUBackend: Backend, @unchecked Sendable {  // stateless but for the pool, which has one caller
    public let device: DeviceDescription
    private let pool: WorkerPool
    private let kernels: cpu_kernels

    /// Multiply-adds that make a range worth handing to another thread: some 5 µs of work.
    private static let worthwhile = 1 << 17

    /// A backend with `threads` threads (nil takes every core) and the instruction set `avx512`, `avx2` or `baseline`
    /// (nil takes the best); nil when this machine lacks `instructionSet`.
    public init?(threads: Int? = nil, instructionSet: String? = nil) {
        guard let table = cpu_kernels_named(instructionSet) else { return nil }
        kernels = table.pointee
        let cores = max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))
        pool = WorkerPool(threads: threads ?? cores)
        device = DeviceDescription(
            name: "cpu", instructionSet: String(cString: kernels.name), threads: pool.threadCount)
    }

    public func stop() { pool.stop() }

    /// Runs `kernel` over `items` items of `work` multiply-adds each.
    private func run<Arguments>(_ kernel: cpu_kernel, _ arguments: Arguments, items: Int, work: Int) {
        withUnsafePointer(to: arguments) {
            pool.run(kernel, UnsafeRawPointer($0), items: items, grain: max(1, Self.worthwhile / max(1, work)))
        }
    }

    private static func panels(_ outputs: Int) -> Int { (outputs + Int(CPU_PANEL) - 1) / Int(CPU_PANEL) }

    // MARK: Weights

    public func makeMatrix(_ matrices: [[Tensor]], gated: Bool) -> Matrix {
        let first = matrices[0][0]
        let inputs = first.shape[1]
        let outputs = gated ? first.shape[0] : matrices[0].reduce(0) { $0 + $1.shape[0] }
        // Mixed types meet in float32, which holds them all.
        let isBF16 = matrices.allSatisfy { $0.allSatisfy { $0.dtype == .bfloat16 } }
        let dtype = isBF16 ? DType.bfloat16 : .float32
        let panels = Self.panels(outputs) * (gated ? 2 : 1)
        let stride = panels * inputs * Int(CPU_PANEL) * dtype.size
        let storage = Storage(byteCount: stride * matrices.count)
        for (index, stack) in matrices.enumerated() {
            precondition(stack.allSatisfy { $0.shape.count == 2 && $0.shape[1] == inputs }, "unequal inputs in a stack")
            let target = storage.bytes.baseAddress! + index * stride
            if stack.allSatisfy({ $0.dtype == stack[0].dtype }), isBF16 || stack[0].dtype != .bfloat16 {
                pack(stack, gated: gated, panels: panels, into: target)
            } else {
                // A stack of several types (a projection kept in another precision), or one in bfloat16 where another
                // expert's is not, is widened first.
                let widened = stack.map { makeVector([$0]) }
                let rows = zip(stack, widened).map { tensor, buffer in
                    (0..<tensor.shape[0]).map { UnsafeRawPointer(buffer.floats + $0 * inputs) as UnsafeRawPointer? }
                }
                withExtendedLifetime(widened) {
                    pack(rows, gated: gated, panels: panels, inputs: inputs, type: CPU_F32, into: target)
                }
            }
        }
        return Matrix(
            outputs: outputs, inputs: inputs, count: matrices.count, isGated: gated, dtype: dtype, storage: storage)
    }

    private func pack(_ stack: [Tensor], gated: Bool, panels: Int, into target: UnsafeMutableRawPointer) {
        guard let type = stack[0].dtype.kernelType else { preconditionFailure("\(stack[0].dtype) is no weight type") }
        let inputs = stack[0].shape[1]
        let rows = stack.map { tensor in
            tensor.withBytes { bytes in
                (0..<tensor.shape[0]).map { row in bytes.baseAddress.map { $0 + row * inputs * tensor.dtype.size } }
            }
        }
        withExtendedLifetime(stack) {
            pack(rows, gated: gated, panels: panels, inputs: inputs, type: type, into: target)
        }
    }

    /// Packs `rows` (one list per block of a stack), padded to whole panels.
    private func pack(
        _ rows: [[UnsafeRawPointer?]], gated: Bool, panels: Int, inputs: Int, type: cpu_type,
        into target: UnsafeMutableRawPointer
    ) {
        let width = Int(CPU_PANEL)
        var order = [UnsafeRawPointer?](repeating: nil, count: panels * width)
        if gated {
            for (half, block) in rows.enumerated() {
                for (row, pointer) in block.enumerated() {
                    order[(2 * (row / width) + half) * width + row % width] = pointer
                }
            }
        } else {
            for (row, pointer) in rows.joined().enumerated() { order[row] = pointer }
        }
        order.withUnsafeBufferPointer {
            run(
                kernels.pack,
                cpu_pack_args(rows: $0.baseAddress, panels: target, inputs: inputs, type: type),
                items: panels, work: inputs * width)
        }
    }

    public func makeVector(_ tensors: [Tensor]) -> Buffer {
        let buffer = Buffer(rows: 1, width: tensors.reduce(0) { $0 + $1.count })
        var target = buffer.floats
        for tensor in tensors {
            guard let type = tensor.dtype.kernelType else { preconditionFailure("\(tensor.dtype) is no weight type") }
            tensor.withBytes { bytes in
                let zero: Int32 = 0
                withUnsafePointer(to: zero) {
                    run(
                        kernels.embed,
                        cpu_embed_args(
                            table: bytes.baseAddress, ids: $0, out: target, width: tensor.count, type: type),
                        items: 1, work: tensor.count)
                }
            }
            target += tensor.count
        }
        return buffer
    }

    // MARK: Ops

    public func embed(_ tokens: TokenLayout, table: Tensor, out: Buffer) {
        guard let type = table.dtype.kernelType else { preconditionFailure("\(table.dtype) is no weight type") }
        table.withBytes {
            run(
                kernels.embed,
                cpu_embed_args(
                    table: $0.baseAddress, ids: tokens.ids, out: out.floats, width: out.width, type: type),
                items: tokens.count, work: out.width)
        }
    }

    public func norm(
        _ x: Buffer, rows: UnsafePointer<Int32>?, count: Int, weight: Buffer, epsilon: Float, out: Buffer
    ) {
        precondition(count <= out.rows && x.width == weight.width && x.width == out.width, "shapes of norm")
        run(
            kernels.norm,
            cpu_norm_args(
                x: x.floats, rows: rows, weight: weight.floats, out: out.floats, width: x.width, segments: 1,
                x_stride: x.width, out_stride: out.width, epsilon: epsilon),
            items: count, work: 4 * x.width)
    }

    public func normSegments(
        _ x: Buffer, count: Int, first: Int, segments: Int, weight: Buffer, epsilon: Float
    ) {
        precondition(
            count <= x.rows && first >= 0 && first + segments * weight.width <= x.width, "shapes of normSegments")
        run(
            kernels.norm,
            cpu_norm_args(
                x: x.floats + first, rows: nil, weight: weight.floats, out: x.floats + first, width: weight.width,
                segments: segments, x_stride: x.width, out_stride: x.width, epsilon: epsilon),
            items: count * segments, work: 4 * weight.width)
    }

    public func clamp(_ x: Buffer, count: Int, limit: Float) {
        precondition(count <= x.rows, "shapes of clamp")
        run(kernels.clamp, cpu_clamp_args(x: x.floats, limit: limit), items: count * x.width, work: 1)
    }

    public func linear(_ x: Buffer, count: Int, weight: Matrix, bias: Buffer?, out: Buffer, accumulate: Bool) {
        precondition(
            x.width == weight.inputs && out.width == weight.outputs && count <= min(x.rows, out.rows)
                && bias?.width ?? weight.outputs == weight.outputs, "shapes of linear")
        run(
            kernels.linear,
            cpu_linear_args(
                x: x.floats, weight: weight.storage.bytes.baseAddress, bias: bias?.floats, y: out.floats,
                rows: count, inputs: weight.inputs, outputs: weight.outputs, x_stride: x.width, y_stride: out.width,
                type: weight.kernelType, accumulate: accumulate),
            items: Self.panels(weight.outputs), work: count * weight.inputs * Int(CPU_PANEL))
    }

    public func gatedLinear(_ x: Buffer, count: Int, weight: Matrix, out: Buffer) {
        precondition(
            weight.isGated && x.width == weight.inputs && out.width == weight.outputs
                && count <= min(x.rows, out.rows), "shapes of gatedLinear")
        run(
            kernels.gated,
            cpu_gated_args(
                x: x.floats, weight: weight.storage.bytes.baseAddress, y: out.floats, rows: count,
                inputs: weight.inputs, outputs: weight.outputs, type: weight.kernelType),
            items: Self.panels(weight.outputs), work: 2 * count * weight.inputs * Int(CPU_PANEL))
    }

    public func rotate(
        _ qkv: Buffer, tokens: TokenLayout, cache: KVCache, layer: Int, heads: Int, angles: RotaryTable
    ) {
        precondition(qkv.width == (heads + 2 * cache.shape.heads) * cache.shape.headDimension, "shapes of rotate")
        run(
            kernels.rope,
            cpu_rope_args(
                cache: cache.kernelCache(tokens, layer: layer), qkv: qkv.floats, cosines: angles.cosines.floats,
                sines: angles.sines.floats, heads: heads),
            items: tokens.count, work: 4 * qkv.width)
    }

    public func attend(
        _ qkv: Buffer, tokens: TokenLayout, cache: KVCache, layer: Int, heads: Int, scale: Float, out: Buffer
    ) {
        precondition(
            qkv.width == (heads + 2 * cache.shape.heads) * cache.shape.headDimension
                && out.width == heads * cache.shape.headDimension
                && heads % cache.shape.heads == 0, "shapes of attend")
        guard tokens.count > 0 else { return }
        let context = Int(tokens.positions[tokens.count - 1]) + 1
        run(
            kernels.attention,
            cpu_attention_args(
                cache: cache.kernelCache(tokens, layer: layer), qkv: qkv.floats, out: out.floats, heads: heads,
                scale: scale),
            items: tokens.count * heads, work: 2 * context * cache.shape.headDimension)
    }

    public func route(_ logits: Buffer, bias: Buffer?, count: Int, keeping row: RoutingRow, into routing: Routing) {
        precondition(count <= logits.rows && bias?.width ?? logits.width == logits.width, "shapes of route")
        routing.route(
            UnsafeBufferPointer(start: logits.floats, count: count * logits.width),
            bias: bias.map { UnsafeBufferPointer($0[row: 0]) }, keeping: row, lanes: pool)
    }

    public func experts(
        _ x: Buffer, routing: Routing, gateUp: Matrix, down: Matrix, activations: Buffer, out: Buffer
    ) {
        let pairs = routing.count * routing.topK
        precondition(
            gateUp.isGated && x.width == gateUp.inputs && activations.width == gateUp.outputs
                && down.inputs == gateUp.outputs && out.width == down.outputs
                && pairs <= min(activations.rows, out.rows), "shapes of experts")
        let perBlock = pairs / max(1, routing.blockCount) + 1
        var arguments = cpu_expert_args(
            sorted: routing.sortedPairs, experts: routing.blockExperts, x: x.floats,
            weight: gateUp.storage.bytes.baseAddress, scale: nil, y: activations.floats, pairs: pairs,
            top_k: routing.topK, block_size: Routing.blockSize, inputs: gateUp.inputs, outputs: gateUp.outputs,
            expert_stride: gateUp.stride, type: gateUp.kernelType)
        run(
            kernels.expert_gate_up, arguments, items: routing.blockCount * Self.panels(gateUp.outputs),
            work: 2 * perBlock * gateUp.inputs * Int(CPU_PANEL))
        arguments.x = UnsafePointer(activations.floats)
        arguments.weight = UnsafeRawPointer(down.storage.bytes.baseAddress)
        arguments.scale = routing.weights.baseAddress
        arguments.y = out.floats
        arguments.inputs = down.inputs
        arguments.outputs = down.outputs
        arguments.expert_stride = down.stride
        arguments.type = down.kernelType
        run(
            kernels.expert_down, arguments, items: routing.blockCount * Self.panels(down.outputs),
            work: perBlock * down.inputs * Int(CPU_PANEL))
    }

    public func combine(
        _ routed: Buffer, count: Int, topK: Int, factor: Float, shared: Buffer?, sharedGate: Buffer?, out: Buffer
    ) {
        precondition(routed.width == out.width && count * topK <= routed.rows, "shapes of combine")
        run(
            kernels.combine,
            cpu_combine_args(
                routed: routed.floats, shared: shared?.floats, gate: sharedGate?.floats, out: out.floats,
                top_k: topK, width: out.width, factor: factor),
            items: count, work: (topK + 2) * out.width)
    }

    public func statistics(
        _ logits: Buffer, count: Int, best: UnsafeMutablePointer<Int32>, maximum: UnsafeMutablePointer<Float>,
        logSumExp: UnsafeMutablePointer<Float>
    ) {
        run(
            kernels.rows,
            cpu_rows_args(
                logits: logits.floats, best: best, maximum: maximum, log_sum_exp: logSumExp, width: logits.width),
            items: count, work: 8 * logits.width)
    }

    public func exponentials(
        _ logits: UnsafePointer<Float>, count: Int, maximum: Float, temperature: Float,
        probabilities: UnsafeMutablePointer<Float>
    ) {
        withUnsafePointer(
            to: cpu_exp_args(
                logits: logits, probabilities: probabilities, maximum: maximum, temperature: temperature)
        ) { kernels.exponentials(UnsafeRawPointer($0), 0, count) }
    }
}

extension Matrix {
    fileprivate var kernelType: cpu_type { dtype == .bfloat16 ? CPU_BF16 : CPU_F32 }
}

extension KVCache {
    fileprivate func kernelCache(_ tokens: TokenLayout, layer: Int) -> cpu_cache {
        cpu_cache(
            keys: keys[layer].floats, values: shape.hasValues ? values[layer].floats : nil, tables: tokens.pageTables,
            sequences: tokens.sequences, positions: tokens.positions, table_stride: tokens.tableStride,
            kv_heads: shape.heads, head_dim: shape.headDimension)
    }
}
