public import Compute

/// How far loading has come.
public struct LoadProgress: Sendable, Equatable {
    /// Bytes of weights that are in place.
    public var completedBytes: Int
    /// Bytes of weights in all.
    public var totalBytes: Int

    public init(completedBytes: Int, totalBytes: Int) {
        self.completedBytes = completedBytes
        self.totalBytes = totalBytes
    }
}

/// What was loaded, and where it runs.
public struct ModelDescription: Sendable, Equatable {
    /// `architectures[0]` of config.json, such as `Qwen2MoeForCausalLM`.
    public var architecture = ""
    /// `model_type` of config.json, such as `qwen2_moe`.
    public var modelType = ""
    /// Decoder layers, dense ones included.
    public var layers = 0
    /// Indexes of the layers that route.
    public var sparseLayers: [Int] = []
    /// Logical experts per sparse layer.
    public var experts = 0
    /// Experts per token.
    public var topK = 0
    /// Parameters in all.
    public var parameters = 0
    /// How exactly matrices are kept.
    public var precision = WeightPrecision.stored
    /// Bytes of memory that weights take.
    public var weightBytes = 0
    /// Bytes of memory that the KV cache takes when it is full.
    public var cacheBytes = 0
    /// Token ids are below this.
    public var vocabularySize = 0
    /// Longest sequence allowed, prompt and output together.
    public var contextLength = 0
    /// Tokens that the KV cache holds.
    public var tokenCapacity = 0
    /// Ids that end a generation.
    public var endOfSequenceIDs: [Int32] = []
    /// `cpu`, or the name of an accelerator.
    public var device = ""
    /// `avx512bf16`, `avx512`, `avx2`, `baseline`.
    public var instructionSet = ""
    /// Threads that compute.
    public var threads = 0

    public init() {}
}
