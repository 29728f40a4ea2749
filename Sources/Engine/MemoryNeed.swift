// MemoryNeed: what a model will take, summed before anything is allocated. In floating point, because the products of a
// hostile configuration may pass 64 bits.

internal import Compute
internal import Experts
internal import Models

/// Bytes that serving a model takes.
struct MemoryNeed {
    private let model: ModelConfiguration
    private let configuration: EngineConfiguration
    private let contextLength: Int
    private let weights: Double

    /// - Parameters:
    ///   - model: its numbers.
    ///   - configuration: the engine's limits.
    ///   - contextLength: the longest sequence.
    ///   - weights: bytes of weights in memory.
    init(_ model: ModelConfiguration, _ configuration: EngineConfiguration, contextLength: Int, weights: Double) {
        self.model = model
        self.configuration = configuration
        self.contextLength = contextLength
        self.weights = weights
    }

    /// All of it, with a KV cache of `tokens` tokens.
    func bytes(tokens: Int) -> Double { weights + Double(tokens) * Double(bytesPerToken) + other }

    /// Bytes of KV cache for one token.
    var bytesPerToken: Int { model.layers * model.cacheShape(configuration.cacheType).bytesPerToken }

    /// Tokens whose keys and values fit beside the rest into `memory` bytes, in whole pages.
    func tokensThatFit(_ memory: Int) -> Int {
        let left = max(0, Double(memory) - weights - other)
        return Int(min(left / Double(bytesPerToken), 0x1p40)) / KVCache.pageSize * KVCache.pageSize
    }

    /// Tokens that the KV cache holds: as many as were asked for, or else a share of `memory`, and no more than sequences
    /// can use.
    func tokens(_ memory: Int) -> Int {
        configuration.maxTotalTokens
            ?? min(
                configuration.maxRunningRequests * contextLength, memory / 8 / bytesPerToken, tokensThatFit(memory))
    }

    /// Page tables, rotary angles, activations, logits and records.
    private var other: Double {
        let float = Double(MemoryLayout<Float>.stride)
        let sequences = Double(configuration.maxRunningRequests)
        let tables = sequences * Double(contextLength / KVCache.pageSize + 1) * float
        let angles = Double(contextLength) * Double(model.rotaryDimension) * float
        let passTokens = Double(configuration.chunkedPrefillSize) + sequences
        let activations =
            (passTokens * Double(Workspace.floatsPerToken(model)) + Double(Workspace.fixedFloats(model))) * float
        // Inputs of one product in bfloat16, at most a word for each.
        let inputs =
            configuration.precision == .stored ? 0 : passTokens * Double(Workspace.widestInput(model)) * float
        let logits = Double(ModelRunner.logitRows + 3) * Double(model.vocabularySize) * float
        return tables + angles + activations + inputs + logits + record
    }

    /// Recorded passes: a window of counts, or as much as the budget allows.
    private var record: Double {
        guard let settings = configuration.recorder else { return 0 }
        guard !settings.mode.isDetailed, case .passes(let passes) = settings.capacity else {
            return Double(settings.byteBudget)
        }
        return Double(passes) * Double(model.layers) * Double(model.experts) * 4
    }
}
