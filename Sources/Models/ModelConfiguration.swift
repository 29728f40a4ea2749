// ModelConfiguration: a Hugging Face config.json, checked once. Models read plain numbers from here on.

public import Compute
public import Experts

/// The numbers of a model.
public struct ModelConfiguration: Sendable, Equatable {
    /// `architectures[0]`, such as `Qwen2MoeForCausalLM`.
    public let architecture: String
    /// `model_type`, such as `qwen2_moe`.
    public let modelType: String
    /// Token ids are below this.
    public let vocabularySize: Int
    /// Width of the residual stream.
    public let hiddenSize: Int
    /// Decoder layers, dense ones included.
    public let layers: Int
    /// Query heads.
    public let heads: Int
    /// Key-value heads.
    public let kvHeads: Int
    /// Width of a head's query and key.
    public let headDimension: Int
    /// Widths of multi-head latent attention; nil for heads with keys and values of their own.
    public let latent: LatentShape?
    /// Inner width of a dense layer's MLP.
    public let intermediateSize: Int
    /// Logical experts per sparse layer, E; 0 for a dense model.
    public let experts: Int
    /// Experts per token, K.
    public let topK: Int
    /// Inner width of an expert.
    public let expertSize: Int
    /// Inner width of the shared expert, or of several side by side; 0 without one.
    public let sharedExpertSize: Int
    /// How the router chooses.
    public let gate: GateRule
    /// Whether a bias per expert is added to the scores by which the router chooses.
    public let hasCorrectionBias: Bool
    /// Indexes of the layers that route.
    public let sparseLayers: [Int]
    /// Added to the mean square in RMSNorm.
    public let normEpsilon: Float
    /// Base of the rotary angles.
    public let ropeBase: Float
    /// How the rotary angles are stretched to longer sequences; nil when they are not.
    public let rotaryScaling: RotaryScaling?
    /// Multiplies attention's scores, beside the usual `1 / √headDimension`.
    public let scoreFactor: Float
    /// Longest sequence that can be computed: what the model was made for. With dynamic scaling, as far as angles are plain:
    /// beyond, each length has angles of its own, and every key would have to turn again whenever a sequence grows.
    public let maxPositions: Int
    /// Whether dynamic scaling ends sequences there.
    public let isScaledDynamically: Bool
    /// Whether the output projection is the embedding table.
    public let tiesEmbeddings: Bool
    /// Whether attention's projections have biases; which of them is the model's affair.
    public let hasAttentionBias: Bool
    /// Queries, keys and values are held within ± this; nil when they are not.
    public let attentionLimit: Float?
    /// How 8-bit weights are scaled.
    public let scaleBlocks: ScaleBlocks
    /// The type of the weights, for those that are made up (`--load-format dummy`).
    public let dtype: DType
    /// Ids that end a generation: config.json's and generation_config.json's.
    public let endOfSequenceIDs: [Int32]

    /// Whether layer `layer` has experts.
    func routes(_ layer: Int) -> Bool { sparseLayers.contains(layer) }

    /// What a layer's cache keeps of a position, if it keeps it as `type`.
    public func cacheShape(_ type: CacheType) -> CacheShape {
        guard let latent else { return CacheShape(heads: kvHeads, headDimension: headDimension, type: type) }
        return CacheShape(heads: 1, headDimension: latent.rank + latent.rotary, hasValues: false, type: type)
    }

    /// Refuses sequences that are too long; `file` is config.json, for messages.
    ///
    /// - Throws: `ModelFileError` that names the key by which they end.
    public func check(contextLength: Int, file: String) throws(ModelFileError) {
        guard contextLength > maxPositions else { return }
        guard isScaledDynamically else {
            throw ModelFileError(
                file: file, item: "max_position_embeddings", found: "\(maxPositions)",
                expected: "at least the \(contextLength) of --context-length")
        }
        throw ModelFileError(
            file: file, item: "rope_scaling", found: "dynamic, which is not supported beyond \(maxPositions) positions",
            expected: "a --context-length of at most \(maxPositions), not \(contextLength)")
    }

    /// Floats of a query or key that turn with the position.
    public var rotaryDimension: Int { latent?.rotary ?? headDimension }

    /// The rotary angles of the first `positions` positions.
    func makeAngles(positions: Int) -> RotaryTable {
        RotaryTable(positions: positions, dimension: rotaryDimension, base: ropeBase, scaling: rotaryScaling)
    }
}

/// Widths of multi-head latent attention (DeepSeek-AI, arXiv:2405.04434): keys and values of all heads are projections of
/// one latent vector, beside one rotary key that all heads share.
public struct LatentShape: Sendable, Equatable {
    /// Width of the latent that queries are projected from; nil when they come from the hidden state itself.
    public var queryRank: Int?
    /// Width of the latent that keys and values are projected from.
    public var rank: Int
    /// Width of the part of a query and key that does not turn.
    public var nope: Int
    /// Width of the part that turns.
    public var rotary: Int
    /// Width of a value.
    public var value: Int
    /// Whether the two numbers of a pair that turns lie side by side; otherwise half a width apart.
    public var isInterleaved: Bool
}

/// What an architecture's config.json leaves unsaid, or says in its own way.
public struct Conventions: Sendable {
    /// `attention_bias` (`qkv_bias`) where the key is missing.
    var attentionBias = false
    /// `norm_topk_prob` where the key is missing.
    var renormalizes = false
    /// Whether `intermediate_size` is the width of an expert.
    var expertsAreIntermediate = false
    /// `rms_norm_eps` where the key is missing.
    var normEpsilon = 1e-6
    /// `rope_theta` where the key is missing.
    var ropeBase = 10000.0
    /// Whether a `sliding_window` counts without `use_sliding_window`.
    var windowAloneCounts = false
    /// Whether attention is latent, so that its widths must be there.
    var isLatent = false
    /// `scoring_func` where the key is missing.
    var scoring = GateRule.Scoring.softmax
    /// `topk_method` where the key is missing.
    var selection = "greedy"
}
