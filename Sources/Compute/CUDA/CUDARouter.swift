// CUDARouter: one pass's routing in one layer on a GPU. Decode batches take one launch for gating, dispatch, alignment and
// recording, larger ones two.

public import CUDAKernels
internal import Experts

/// Where the tokens of a pass go.
public final class CUDARouter {
    /// Rows and pairs up to which a pass is one launch.
    public static let fused = (tokens: 64, pairs: 1024)

    /// How a decode batch is launched.
    public struct Launch: Sendable, Equatable {
        /// Warps in a CTA.
        public var warps: Int
        /// CTAs, which form a cluster if there are more than one.
        public var parts: Int

        /// A launch from its parts.
        public init(warps: Int, parts: Int) {
            self.warps = warps
            self.parts = parts
        }
    }

    /// The gate.
    public let gate: CUDAGate
    /// The alignment; its experts are the physical ones and the shared copies.
    public let alignment: CUDAAlignment
    private let device: CUDADevice

    /// A router from its parts.
    public init(_ device: CUDADevice, gate: CUDAGate, alignment: CUDAAlignment) {
        self.device = device
        self.gate = gate
        self.alignment = alignment
    }

    /// The launch for a decode batch; nil if it takes two.
    public func launch(tokens: Int) -> Launch? {
        let pairs = tokens * gate.columns
        guard tokens <= Self.fused.tokens, pairs <= Self.fused.pairs else { return nil }
        let launch =
            if pairs <= 64 {
                Launch(warps: pairs <= 8 ? 8 : pairs <= 16 ? 16 : 32, parts: 1)
            } else {
                Launch(
                    warps: pairs <= 512 && alignment.buckets <= 1024 ? 16 : 32,
                    parts: device.description.hasClusters ? 8 : 1)
            }
        return fits(launch, tokens: tokens) ? launch : nil
    }

    /// Whether the GPU has the shared memory for `launch`; the kernel has some without asking besides.
    public func fits(_ launch: Launch, tokens: Int) -> Bool {
        sharedMemory(launch, pairs: tokens * gate.columns) + (8 << 10) <= device.description.sharedMemory
    }

    /// Bytes of dynamic shared memory: the gate's scratch, then the alignment's tables.
    private func sharedMemory(_ launch: Launch, pairs: Int) -> Int {
        let align = AlignLaunch(pairs <= 64 ? .few : .alone, warps: launch.warps, parts: launch.parts)
        return launch.warps * gate.scratch * 4
            + align.sharedMemory(pairs: pairs, buckets: alignment.buckets, blockSize: alignment.rule.blockSize)
    }

    /// Enqueues gate, dispatch, alignment and recording; parameters as of `CUDAGate.choose` and `CUDAAlignment.align`.
    public func route(
        logits: UInt64, tokens: Int, weights: UInt64, ids: UInt64, into blocks: BlockMemory, realTokens: UInt64 = 0,
        dispatch: CUDADispatch.Row? = nil, fillTail: Bool = false, record: route_record? = nil, launch: Launch? = nil,
        on stream: CUDAStream
    ) throws(CUDAError) {
        let pairs = tokens * gate.columns
        guard let launch = launch ?? self.launch(tokens: tokens) else {
            try gate.choose(
                logits: logits, tokens: tokens, weights: weights, ids: ids, realTokens: realTokens, dispatch: dispatch,
                on: stream)
            return try alignment.align(
                ids: ids, pairs: pairs, into: blocks, fillTail: fillTail, record: record, on: stream)
        }
        let isFew = pairs <= 64
        let blockSize = alignment.rule.blockSize
        let align = AlignLaunch(isFew ? .few : .alone, warps: launch.warps, parts: launch.parts)
        let shared = sharedMemory(launch, pairs: pairs)
        let constants =
            gate.constants + [
                "PLAIN=\(alignment.isPlain(blocks) ? 1 : 0)", "FEW=\(isFew ? 1 : 0)", "WARPS=\(launch.warps)",
                "ITEMS=1",
                "CTAS=\(launch.parts)",
            ]
        let kernel = try device.kernels.kernel(
            "route", of: KernelSource("route.cu", constants), sharedMemory: shared, largeClusters: launch.parts > 8)
        let how = cuda_launch(
            grid: UInt32(launch.parts), block: UInt32(launch.warps * 32), shared_bytes: UInt32(shared),
            cluster: launch.parts > 1 ? UInt32(launch.parts) : 0, cooperative: false, early: device.startsEarly)
        var arguments = route_arguments(
            gate: gate.arguments(
                logits: logits, tokens: tokens, weights: weights, ids: ids, realTokens: realTokens, dispatch: dispatch,
                firstToken: 0),
            align: try alignment.arguments(ids: 0, pairs: pairs, into: blocks, fillTail: fillTail, record: record))
        arguments.align.stage_rows = Int32(
            align.stageRows(pairs: pairs, buckets: alignment.buckets, blockSize: blockSize))
        try kernel.launch(how, on: stream, arguments)
    }
}
