public import Compute
public import Experts

/// Where weights come from.
public enum LoadFormat: Sendable {
    /// The model's safetensors files.
    case auto
    /// Nowhere: seeded random numbers, for a model of which there is only a config.json.
    case dummy
}

/// The engine's limits and switches.
public struct EngineConfiguration: Sendable {
    /// Sequences that may be in the batch at once (`--max-running-requests`).
    public var maxRunningRequests = 64
    /// Requests that may wait (`--max-queued-requests`).
    public var maxQueuedRequests = 1024
    /// Prompt tokens computed in one pass, beside one token of each sequence that decodes (`--chunked-prefill-size`).
    public var chunkedPrefillSize = 512
    /// Tokens that the KV cache holds (`--max-total-tokens`); nil chooses from the model.
    public var maxTotalTokens: Int?
    /// Who joins the batch next (`--schedule-policy`).
    public var schedulePolicy = SchedulePolicy.firstComeFirstServed
    /// Whether keys and values of prompts, and of outputs where a model allows it, are kept for those that begin alike
    /// (`--disable-radix-cache`).
    public var reusesPrefixes = true
    /// Whether `GenerationRequest.priority` counts (`--enable-priority-scheduling`).
    public var usesPriorities = false
    /// By how much the priority of who waits must exceed that of who runs, to take its place
    /// (`--priority-scheduling-preemption-threshold`).
    public var preemptionThreshold = 10
    /// Positions a sequence may have (`--context-length`); nil takes the model's.
    public var contextLength: Int?
    /// Where weights come from (`--load-format`).
    public var loadFormat = LoadFormat.auto
    /// How exactly weights are kept and multiplied (`--dtype`, `--quantization`).
    public var precision = WeightPrecision.stored
    /// What keys and values are kept as (`--kv-cache-dtype`).
    public var cacheType = CacheType.float32
    /// Folder of packed weights, which a later start maps (`--packed-cache`); nil packs at every start.
    public var packedCache: String?
    /// Seeds the sampler of requests without a seed, and made-up weights (`--random-seed`).
    public var randomSeed: UInt64 = 42
    /// Where the experts are at first (`--init-expert-location`).
    public var placement = PlacementSource.trivial
    /// Slots beyond one for each expert (`--ep-num-redundant-experts`); nil takes as many as the placement has.
    public var redundantExperts: Int?
    /// How the expert distribution is recorded (`--expert-distribution-recorder-*`); nil is off.
    public var recorder: RecorderSettings? = RecorderSettings()
    /// Folder that dumps are written to (`SGLANG_EXPERT_DISTRIBUTION_RECORDER_DIR`).
    public var recorderDirectory = "/tmp"

    public init() {}
}
