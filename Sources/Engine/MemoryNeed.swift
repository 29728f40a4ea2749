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

    init(_ model: ModelConfiguration, _ configuration: EngineConfiguration, contextLength: Int) {
        self.model = model
        self.configuration = configuration
        self.contextLength = contextLength
    }

    /// Weights in their layout, caches, activations and records, with a KV cache of `tokens` tokens.
    func bytes(_ checkpoint: Checkpoint, tokens: Int) -> Double {
        let float = Double(MemoryLayout<Float>.stride)
        let sequences = Double(configuration.maxRunningRequests)
        let kv = Double(tokens) * Double(Self.bytesPerToken(model))
        let tables = sequences * Double(contextLength / KVCache.pageSize + 1) * float
        let angles = Double(contextLength) * Double(model.rotaryDimension) * float
        let passTokens = Double(configuration.chunkedPrefillSize) + sequences
        let activations = passTokens * Double(Workspace.floatsPerToken(model)) * float
        let logits = Double(ModelRunner.logitRows + 3) * Double(model.vocabularySize) * float
        return weights(checkpoint) + kv + tables + angles + activations + logits + record
    }

    /// Recorded passes: a window of counts, or as much as the budget allows.
    private var record: Double {
        guard let settings = configuration.recorder else { return 0 }
        guard !settings.mode.isDetailed, case .passes(let passes) = settings.capacity else {
            return Double(settings.byteBudget)
        }
        return Double(passes) * Double(model.layers) * Double(model.experts) * 4
    }

    /// Weights as they are laid out: float16 is widened; a tied embedding table is laid out a second time.
    private func weights(_ checkpoint: Checkpoint) -> Double {
        let stored = checkpoint.tensors.values.reduce(0.0) { sum, tensor in
            sum + Double(tensor.byteCount) * (tensor.dtype == .float16 ? 2 : 1)
        }
        let head = model.tiesEmbeddings ? Double(model.vocabularySize) * Double(model.hiddenSize) * 4 : 0
        return stored + head
    }

    /// Bytes of KV cache for one token.
    static func bytesPerToken(_ model: ModelConfiguration) -> Int {
        model.layers * model.cacheShape.bytesPerToken
    }
}
