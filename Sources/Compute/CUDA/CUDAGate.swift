// CUDAGate: gating and dispatch on a GPU, the same ids and weights as `selectExperts` gives, to the bit.
//
// The rule, E and K are compiled in: a model has one of each.

internal import CUDAKernels
public import Experts

/// How router logits lie in memory.
public enum LogitType: Int, Sendable {
    /// IEEE single precision.
    case float32 = 0
    /// Brain float.
    case bfloat16 = 1
    /// IEEE half precision.
    case float16 = 2
}

/// Chooses K of E experts for every token.
public final class CUDAGate {
    /// Which function of the logits decides.
    public let rule: GateRule
    /// K, without a shared column.
    public let topK: Int
    /// E.
    public let experts: Int
    /// The sources' constants.
    let constants: [String]
    private let device: CUDADevice
    /// Correction bias, `[E]`.
    private let bias: DeviceBuffer<Float>?

    /// The most experts and the most choices that the kernels serve.
    public static let largest = (experts: 512, topK: 16, groups: 32)

    /// A gate.
    ///
    /// - Parameters:
    ///   - device: where it runs.
    ///   - rule: the model's gating.
    ///   - topK: K.
    ///   - experts: E.
    ///   - bias: correction bias, `[E]`; nil without.
    ///   - takesBias: whether calls bring the correction bias.
    ///   - logits: how logits lie in memory.
    ///   - stream: copies the bias.
    /// - Throws: `CUDAError`, also for sizes that the kernels do not serve.
    public init(
        _ device: CUDADevice, rule: GateRule, topK: Int, experts: Int, bias: [Float]? = nil,
        takesBias: Bool = false, logits: LogitType = .float32, on stream: CUDAStream
    ) throws(CUDAError) {
        let groups = rule.groups ?? GateRule.Groups(count: 1, kept: 1)
        let largest = Self.largest
        guard (1...largest.experts).contains(experts), (1...min(largest.topK, experts)).contains(topK),
            groups.count <= largest.groups, experts % groups.count == 0, bias.map({ $0.count == experts }) ?? true
        else {
            throw CUDAError(
                "gate top \(topK) of \(experts) experts in \(groups.count) groups",
                .unsupported(
                    "at most \(largest.experts) experts, \(largest.topK) choices, \(largest.groups) equal groups, "
                        + "a bias for every expert"))
        }
        self.device = device
        self.rule = rule
        self.topK = topK
        self.experts = experts
        constants = Self.constants(
            rule, topK: topK, experts: experts, hasBias: takesBias || bias != nil, logits: logits)
        if let bias {
            let buffer = try DeviceBuffer<Float>(device, count: experts)
            try buffer.write(bias, on: stream)
            self.bias = buffer
        } else {
            self.bias = nil
        }
    }

    /// What gate.cuh is compiled with.
    public static func constants(
        _ rule: GateRule, topK: Int, experts: Int, hasBias: Bool, logits: LogitType
    ) -> [String] {
        [
            "EXPERTS=\(experts)", "TOP_K=\(topK)", "SIGMOID=\(rule.scoring == .sigmoid ? 1 : 0)",
            "RENORMALIZE=\(rule.renormalize ? 1 : 0)", "BIAS=\(hasBias ? 1 : 0)", "GROUPS=\(rule.groups?.count ?? 1)",
            "KEPT=\(rule.groups?.kept ?? 1)", "LOGITS=\(logits.rawValue)",
        ]
    }

    /// Columns of ids and weights.
    public var columns: Int { rule.columns(topK: topK) }

    /// How many lanes of a warp can work on one row, ascending: LANES in gate.cu.
    public var lanesPerRow: [Int] { Self.lanesPerRow(rule, experts: experts) }

    /// How many lanes of a warp can work on one row of `experts` logits, ascending.
    public static func lanesPerRow(_ rule: GateRule, experts: Int) -> [Int] {
        let choosesGroups = rule.groups.map { $0.kept < $0.count } ?? false
        return (choosesGroups || experts > 256 ? [] : [4, 8]) + [32]
    }

    /// Words of scratch of a warp: `SCRATCH` in gate.cuh.
    var scratch: Int {
        guard let groups = rule.groups, groups.kept < groups.count, experts / groups.count % 32 != 0 else { return 0 }
        return (experts + 3) / 4 * 4
    }

    /// Enqueues the gating of `tokens` rows.
    ///
    /// - Parameters:
    ///   - logits: device address of `[tokens, E]`.
    ///   - tokens: N.
    ///   - weights: device address of `[tokens, columns]` floats, written.
    ///   - ids: device address of `[tokens, columns]` int32, written; physical behind a dispatch.
    ///   - realTokens: device address of the number of real rows, the others being padding; 0 when all are real.
    ///   - dispatch: one layer's replicas; nil for logical ids.
    ///   - firstToken: the number of the first row.
    ///   - bias: device address of the correction bias, `[E]` floats; 0 for the gate's own.
    ///   - lanes: of a warp, those that work on one row; one of `lanesPerRow`, nil for what suits the number of rows. Logits that do
    ///     not begin at 16 bytes take all.
    ///   - stream: where it runs.
    /// - Throws: `CUDAError`.
    public func choose(
        logits: UInt64, tokens: Int, weights: UInt64, ids: UInt64, realTokens: UInt64 = 0,
        dispatch: CUDADispatch.Row? = nil, firstToken: Int = 0, bias: UInt64 = 0, lanes: Int? = nil,
        on stream: CUDAStream
    ) throws(CUDAError) {
        guard tokens > 0 else { return }
        let multiprocessors = device.description.multiprocessors
        // A warp per row until every multiprocessor has some, then several rows per warp; those read whole vectors.
        let isMany = lanesPerRow.count > 1 && tokens >= 16 * multiprocessors
        let lanes = logits % 16 > 0 ? 32 : lanes ?? (isMany ? experts > 64 ? 8 : 4 : 32)
        let kernel = try device.kernels.kernel(
            "gate_rows", of: KernelSource("gate.cu", constants + ["LANES=\(lanes)"]))
        // Small batches take a multiprocessor per row, large ones eight warps per CTA.
        let warps = min(8, max(1, (tokens * lanes / 32 + multiprocessors - 1) / multiprocessors))
        let launch = cuda_launch(
            grid: UInt32((tokens * lanes + warps * 32 - 1) / (warps * 32)), block: UInt32(warps * 32), shared_bytes: 0,
            cluster: 0, cooperative: false, early: device.startsEarly)
        var arguments = arguments(
            logits: logits, tokens: tokens, weights: weights, ids: ids, realTokens: realTokens, dispatch: dispatch,
            firstToken: firstToken)
        if bias != 0 { arguments.bias = bias }
        try kernel.launch(launch, on: stream, arguments)
    }

    /// What the kernels are told.
    func arguments(
        logits: UInt64, tokens: Int, weights: UInt64, ids: UInt64, realTokens: UInt64, dispatch: CUDADispatch.Row?,
        firstToken: Int
    ) -> gate_arguments {
        var arguments = gate_arguments()
        arguments.logits = logits
        arguments.bias = bias?.address ?? 0
        arguments.weights = weights
        arguments.ids = ids
        arguments.real_tokens = realTokens
        arguments.starts = dispatch?.starts ?? 0
        arguments.slots = dispatch?.slots ?? 0
        arguments.shares = dispatch?.shares ?? 0
        arguments.tokens = Int32(tokens)
        arguments.first_token = Int32(truncatingIfNeeded: firstToken)
        let copies = rule.shared?.copies ?? 0
        arguments.targets = Int32((dispatch?.physicalExperts ?? experts) + copies)
        arguments.shared_copies = Int32(copies)
        arguments.scale = rule.scale
        arguments.shared_weight = rule.shared?.weight ?? 0
        return arguments
    }
}
