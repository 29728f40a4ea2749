// CPUBackend: the ops as C kernels over ranges, run on the worker pool.
//
// Owner: one engine; one pass at a time. Each op fills an argument block on the stack and hands it to the pool: no
// allocation, no lock per token.
//
// The ops are documented in Backend.
// swift-format-ignore-file: AllPublicDeclarationsHaveDocumentation

internal import CPUKernels
internal import Experts

/// Computes on the CPU, with the best instruction set that this machine has.
public final class CPUBackend: Backend, @unchecked Sendable {  // one caller at a time, as the pool has
    public let device: DeviceDescription
    private let pool: WorkerPool
    let kernels: cpu_kernels
    /// A product's inputs in bfloat16.
    private let narrowed = Scratch()
    /// Where its matrices lie.
    let arena = Arena()

    /// Multiply-adds that make a range worth handing to another thread: a microsecond or two of work.
    private static let worthwhile = 1 << 16
    /// What a number that is read, changed and written costs, in multiply-adds: half of them come from another core.
    private static let touch = 16
    /// Rows that are worth reading a panel for.
    private static let fewRows = 16

    /// A backend with `threads` threads (nil takes as many as `Processors` says) and the instruction set `avx512bf16`, `avx512`,
    /// `avx2` or `baseline` (nil takes the best); nil when this machine lacks `instructionSet`. `pinsThreads` as for `WorkerPool`.
    public init?(threads: Int? = nil, instructionSet: String? = nil, pinsThreads: Bool = false) {
        guard let table = cpu_kernels_named(instructionSet) else { return nil }
        kernels = table.pointee
        pool = WorkerPool(threads: threads ?? Processors.threadCount, pinsThreads: pinsThreads)
        device = DeviceDescription(
            name: "cpu", instructionSet: String(cString: kernels.name), threads: pool.threadCount)
    }

    /// Its threads, for work beside the ops, by whoever calls those.
    public var lanes: WorkerPool { pool }

    public func stop() { pool.stop() }

    /// Items of `work` multiply-adds each that are worth a claim.
    private static func grain(_ work: Int) -> Int { max(1, worthwhile / max(1, work)) }

    /// Runs `kernel` over `items` items of `work` multiply-adds each.
    func run<Arguments>(_ kernel: cpu_kernel, _ arguments: Arguments, items: Int, work: Int) {
        withUnsafePointer(to: arguments) {
            pool.run(kernel, UnsafeRawPointer($0), items: items, grain: Self.grain(work))
        }
    }

    /// Runs two kernels that need nothing of one another as one, over items of `work` multiply-adds on average.
    func run<First, Second>(
        _ first: cpu_kernel, _ arguments: First, items: Int, beside second: cpu_kernel, _ others: Second,
        items otherItems: Int, work: Int
    ) {
        let (all, grain) = (items + otherItems, Self.grain(work))
        withUnsafePointer(to: arguments) { arguments in
            withUnsafePointer(to: others) { others in
                let both = cpu_both_args(
                    first: first, second: second, first_args: arguments, second_args: others, first_items: items,
                    second_items: otherItems, shares: pool.shareCount(items: all, grain: grain))
                withUnsafePointer(to: both) { pool.run(cpu_both, $0, items: all, grain: grain) }
            }
        }
    }

    /// A buffer whose rows are as the kernels of `weight` read them, and what lies from row to row: floats, or words of rounded
    /// ones.
    func written(_ x: Buffer, for weight: Matrix) -> (start: UnsafePointer<Float>, stride: Int) {
        let words = (x.width + kernels.narrow_inputs - 1) / kernels.narrow_inputs
        return (UnsafePointer(x.floats), weight.isRounded ? words : x.width)
    }

    /// The first `count` rows of `x` as the kernels of `weight` read them, rounded where they are not as they are, and what
    /// lies from row to row.
    func input(_ x: Buffer, count: Int, for weight: Matrix) -> (start: UnsafePointer<Float>, stride: Int) {
        let (start, stride) = written(x, for: weight)
        guard weight.isRounded else { return (start, stride) }
        let words = narrowed.reserve(4 * count * stride)
        run(
            kernels.narrow,
            cpu_narrow_args(
                x: x.floats, out: words.assumingMemoryBound(to: UInt32.self), width: x.width, x_stride: x.width),
            items: count, work: Self.touch * x.width)
        return (UnsafePointer(words.assumingMemoryBound(to: Float.self)), stride)
    }

    /// Panels of so many outputs; a gated one holds half as many, each twice.
    static func panels(_ outputs: Int, gated: Bool = false) -> Int {
        let width = Int(gated ? CPU_LANES : CPU_PANEL)
        return (outputs + width - 1) / width
    }

    public func embed(_ tokens: TokenLayout, table: Tensor, out: Buffer) {
        guard let type = table.dtype.kernelType else { preconditionFailure("\(table.dtype) is no weight type") }
        table.withBytes {
            run(
                kernels.embed,
                cpu_embed_args(
                    table: $0.baseAddress, ids: tokens.ids, out: out.floats, width: out.width, type: type),
                items: tokens.count, work: Self.touch * out.width)
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
            items: count, work: Self.touch * x.width)
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
            items: count * segments, work: Self.touch * weight.width)
    }

    public func clamp(_ x: Buffer, count: Int, limit: Float) {
        precondition(count <= x.rows, "shapes of clamp")
        run(kernels.clamp, cpu_clamp_args(x: x.floats, limit: limit), items: count * x.width, work: 1)
    }

    public func linear(_ x: Buffer, count: Int, weight: Matrix, bias: Buffer?, out: Buffer, accumulate: Bool) {
        precondition(
            x.width == weight.inputs && out.width == weight.outputs && count <= min(x.rows, out.rows)
                && bias?.width ?? weight.outputs == weight.outputs, "shapes of linear")
        let panels = Self.panels(weight.outputs)
        var arguments = linearArguments(
            input(x, count: count, for: weight), count: count, weight: weight, bias: bias, out: out,
            accumulate: accumulate)
        // Of no more panels than threads, such as a router's, each is computed for parts of the rows.
        let parts = max(1, min(2 * device.threads / panels, count / Self.fewRows))
        arguments.part_rows = (count + parts - 1) / parts
        run(
            kernels.linear, arguments, items: parts * panels,
            work: arguments.part_rows * weight.inputs * Int(CPU_PANEL))
    }

    func linearArguments(
        _ input: (start: UnsafePointer<Float>, stride: Int), count: Int, weight: Matrix, bias: Buffer?, out: Buffer,
        accumulate: Bool
    ) -> cpu_linear_args {
        cpu_linear_args(
            x: input.start, weight: weight.storage.bytes.baseAddress, bias: bias?.floats, y: out.floats, rows: count,
            inputs: weight.inputs, outputs: weight.outputs, part_rows: count, x_stride: input.stride,
            y_stride: out.width, type: weight.kernelType, accumulate: accumulate)
    }

    public func gatedLinear(_ x: Buffer, count: Int, weight: Matrix, out: Buffer) {
        precondition(
            weight.isGated && x.width == weight.inputs && out.width == weight.outputs
                && count <= min(x.rows, out.rows), "shapes of gatedLinear")
        run(
            kernels.gated,
            gatedArguments(
                input(x, count: count, for: weight), count: count, weight: weight, out: out, narrows: false),
            items: Self.panels(weight.outputs, gated: true), work: count * weight.inputs * Int(CPU_PANEL))
    }

    func gatedArguments(
        _ input: (start: UnsafePointer<Float>, stride: Int), count: Int, weight: Matrix,
        out: Buffer, narrows: Bool
    ) -> cpu_gated_args {
        cpu_gated_args(
            x: input.start, weight: weight.storage.bytes.baseAddress, y: out.floats, rows: count, inputs: weight.inputs,
            outputs: weight.outputs, x_stride: input.stride, type: weight.kernelType, narrows: narrows)
    }

    public func headLinear(_ x: Buffer, count: Int, weight: Matrix, out: Buffer) {
        let heads = weight.count
        precondition(
            x.width % heads == 0 && out.width % heads == 0 && weight.inputs <= x.width / heads
                && weight.outputs <= out.width / heads && count <= min(x.rows, out.rows)
                && weight.precision == .stored, "shapes of headLinear")
        run(
            kernels.head_linear,
            cpu_head_linear_args(
                x: x.floats, weight: weight.storage.bytes.baseAddress, y: out.floats, rows: count, heads: heads,
                inputs: weight.inputs, outputs: weight.outputs, x_head: x.width / heads, y_head: out.width / heads,
                head_stride: weight.stride, type: weight.kernelType),
            items: heads * Self.panels(weight.outputs), work: count * weight.inputs * Int(CPU_PANEL))
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
            items: tokens.count, work: 64 * qkv.width)
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
        // Heads that share keys go together, unless they are all that the threads can share.
        let isSmall = tokens.count * cache.shape.heads < 2 * device.threads
        let itemHeads = isSmall ? 1 : heads / cache.shape.heads
        run(
            kernels.attention,
            cpu_attention_args(
                cache: cache.kernelCache(tokens, layer: layer), qkv: qkv.floats, out: out.floats,
                tokens: tokens.count, heads: heads, item_heads: itemHeads, scale: scale),
            items: tokens.count * heads / itemHeads, work: 2 * itemHeads * context * cache.shape.headDimension)
    }

    public func route(_ logits: Buffer, bias: Buffer?, count: Int, keeping row: RoutingRow, into routing: Routing) {
        precondition(count <= logits.rows && bias?.width ?? logits.width == logits.width, "shapes of route")
        routing.route(
            UnsafeBufferPointer(start: logits.floats, count: count * logits.width),
            bias: bias.map { UnsafeBufferPointer($0[row: 0]) }, keeping: row, lanes: pool)
    }

    public func combine(
        _ routed: Buffer, count: Int, topK: Int, factor: Float, shared: Buffer?, gate: SharedGate?, out: Buffer
    ) {
        precondition(
            routed.width == out.width && count * topK <= routed.rows && shared?.width ?? out.width == out.width
                && gate?.x.width ?? out.width == out.width && gate?.weight.width ?? out.width == out.width,
            "shapes of combine")
        run(
            kernels.combine,
            cpu_combine_args(
                routed: routed.floats, shared: shared?.floats, x: gate?.x.floats, gate: gate?.weight.floats,
                out: out.floats, top_k: topK, width: out.width, factor: factor),
            items: count, work: Self.touch * (topK + 2) / 2 * out.width)
    }

    public func statistics(
        _ logits: Buffer, count: Int, best: UnsafeMutablePointer<Int32>, maximum: UnsafeMutablePointer<Float>,
        logSumExp: UnsafeMutablePointer<Float>?
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
    /// Whether it meets inputs that are rounded to bfloat16.
    var isRounded: Bool { precision != .stored }

    var kernelType: cpu_type {
        switch precision {
        case .stored: isCompressed ? CPU_BF12 : dtype == .bfloat16 ? CPU_BF16 : CPU_F32
        case .bfloat16: isCompressed ? CPU_PAIRS12 : CPU_PAIRS
        case .int8: CPU_INT8
        case .int5: CPU_INT5
        }
    }
}

extension KVCache {
    func kernelCache(_ tokens: TokenLayout, layer: Int) -> cpu_cache {
        cpu_cache(
            keys: keys[layer].floats, values: shape.hasValues ? values[layer].floats : nil, tables: tokens.pageTables,
            sequences: tokens.sequences, positions: tokens.positions, table_stride: tokens.tableStride,
            kv_heads: shape.heads, head_dim: shape.headDimension, type: shape.type.kernelType)
    }
}

extension CacheType {
    var kernelType: cpu_type { self == .float32 ? CPU_F32 : CPU_BF16 }
}
