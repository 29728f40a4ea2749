// ModelConfiguration: a Hugging Face config.json, checked once. Models read plain numbers from here on.

public import Compute

#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

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
    /// Width of a head.
    public let headDimension: Int
    /// Inner width of a dense layer's MLP.
    public let intermediateSize: Int
    /// Logical experts per sparse layer, E; 0 for a dense model.
    public let experts: Int
    /// Experts per token, K.
    public let topK: Int
    /// Inner width of an expert.
    public let expertSize: Int
    /// Inner width of the shared expert; 0 without one.
    public let sharedExpertSize: Int
    /// Whether routing weights are divided by their sum.
    public let normalizesTopK: Bool
    /// Indexes of the layers that route.
    public let sparseLayers: [Int]
    /// Added to the mean square in RMSNorm.
    public let normEpsilon: Float
    /// Base of the rotary angles.
    public let ropeBase: Float
    /// Longest sequence that the model was made for.
    public let maxPositions: Int
    /// Whether the output projection is the embedding table.
    public let tiesEmbeddings: Bool
    /// Whether query, key and value projections have biases.
    public let hasAttentionBias: Bool
    /// Ids that end a generation: config.json's and generation_config.json's.
    public let endOfSequenceIDs: [Int32]

    /// Reads `config.json`, and the end-of-sequence ids of `generation_config.json` if there is one.
    ///
    /// - Throws: `ModelFileError` naming the file and the key.
    public init(_ files: ModelFiles) throws(ModelFileError) {
        let file = files.location(of: "config.json")
        guard let raw = try Self.decode(RawConfiguration.self, "config.json", files) else {
            throw ModelFileError(file: file, found: "no such file", expected: "a Hugging Face config.json")
        }
        let generation = try Self.decode(RawGenerationConfiguration.self, "generation_config.json", files)

        /// The value of `key`, which must be there and in `range`.
        func require(_ value: Double?, _ key: String, _ range: ClosedRange<Int> = 1...1 << 24) throws(ModelFileError)
            -> Int
        {
            guard let value, let whole = Int(exactly: value), range.contains(whole) else {
                throw ModelFileError(
                    file: file, item: key,
                    found: value.map { "\(Int(exactly: $0)?.description ?? "\($0)")" } ?? "nothing",
                    expected: "a whole number from \(range.lowerBound) to \(range.upperBound)")
            }
            return whole
        }
        func refuse(_ key: String, _ found: String, _ expected: String) -> ModelFileError {
            ModelFileError(file: file, item: key, found: found, expected: expected)
        }

        guard let architecture = raw.architectures?.first else {
            throw refuse("architectures", "nothing", "a list with the architecture's name")
        }
        self.architecture = architecture
        modelType = raw.modelType ?? ""
        vocabularySize = try require(raw.vocabSize, "vocab_size")
        hiddenSize = try require(raw.hiddenSize, "hidden_size", 1...1 << 17)
        layers = try require(raw.numHiddenLayers, "num_hidden_layers", 1...1024)
        heads = try require(raw.numAttentionHeads, "num_attention_heads", 1...4096)
        kvHeads = try require(raw.numKeyValueHeads ?? raw.numAttentionHeads, "num_key_value_heads", 1...4096)
        guard heads.isMultiple(of: kvHeads) else {
            throw refuse("num_key_value_heads", "\(kvHeads)", "a divisor of num_attention_heads, \(heads)")
        }
        guard raw.headDim != nil || hiddenSize.isMultiple(of: heads) else {
            throw refuse("hidden_size", "\(hiddenSize)", "a multiple of num_attention_heads, \(heads), or a head_dim")
        }
        headDimension = try require(raw.headDim ?? Double(hiddenSize / heads), "head_dim", 2...4096)
        guard headDimension.isMultiple(of: 2) else { throw refuse("head_dim", "\(headDimension)", "an even number") }
        experts = try require(raw.numExperts ?? 0, "num_experts", 0...8192)
        let sparseStep = try require(raw.decoderSparseStep ?? 1, "decoder_sparse_step", 1...1 << 20)
        let denseLayers = Set(raw.mlpOnlyLayers ?? [])
        let (layers, experts) = (layers, experts)
        sparseLayers = (0..<layers).filter {
            experts > 0 && !denseLayers.contains(Double($0)) && ($0 + 1).isMultiple(of: sparseStep)
        }
        topK = experts == 0 ? 0 : try require(raw.numExpertsPerTok, "num_experts_per_tok", 1...min(experts, 16))
        expertSize = experts == 0 ? 0 : try require(raw.moeIntermediateSize, "moe_intermediate_size", 1...1 << 20)
        sharedExpertSize = try require(
            raw.sharedExpertIntermediateSize ?? 0, "shared_expert_intermediate_size", 0...1 << 20)
        let hasDenseLayers = sparseLayers.count < layers
        intermediateSize = try require(
            raw.intermediateSize ?? (hasDenseLayers ? nil : 0), "intermediate_size", (hasDenseLayers ? 1 : 0)...1 << 20)
        normalizesTopK = raw.normTopkProb ?? false
        let epsilon = raw.rmsNormEps ?? 1e-6
        guard (0...1).contains(epsilon) else { throw refuse("rms_norm_eps", "\(epsilon)", "a number from 0 to 1") }
        normEpsilon = Float(epsilon)
        let base = raw.ropeTheta ?? raw.ropeParameters?.ropeTheta ?? 10000
        guard (1...1e30).contains(base) else { throw refuse("rope_theta", "\(base)", "a number from 1 to 1e30") }
        ropeBase = Float(base)
        maxPositions = try require(raw.maxPositionEmbeddings, "max_position_embeddings", 1...1 << 24)
        tiesEmbeddings = raw.tieWordEmbeddings ?? false
        hasAttentionBias = raw.qkvBias ?? true
        if let activation = raw.hiddenAct, activation != "silu" {
            throw refuse("hidden_act", activation, "silu")
        }
        if raw.useSlidingWindow == true {
            throw refuse("use_sliding_window", "true", "false: sliding windows are not supported")
        }
        for parameters in [
            raw.ropeScaling.map { ($0, "rope_scaling") }, raw.ropeParameters.map { ($0, "rope_parameters") },
        ] {
            guard let (rope, key) = parameters else { continue }
            // Without a type, older files mean linear scaling and newer ones none.
            let kind = rope.type ?? rope.ropeType ?? (rope.factor == nil ? "default" : "a factor")
            guard kind == "default" else {
                throw refuse(key, kind, "none: this architecture is supported without rope scaling only")
            }
        }
        // Ids that no token has could end nothing, and would be out of place in a row of logits.
        var ends: [Int32] = []
        for id in (raw.eosTokenId?.ids ?? []) + (generation?.eosTokenId?.ids ?? []) {
            guard let id = Int32(exactly: id), (0..<Int32(vocabularySize)).contains(id), !ends.contains(id) else {
                continue
            }
            ends.append(id)
        }
        endOfSequenceIDs = ends
    }

    private static func decode<Value: Decodable>(
        _ type: Value.Type, _ name: String, _ files: ModelFiles
    ) throws(ModelFileError) -> Value? {
        let file = files.location(of: name)
        let bytes: MappedBytes?
        do {
            bytes = try files.bytes(name)
        } catch {
            throw ModelFileError(file: file, found: error.reason, expected: "a readable file")
        }
        guard let bytes else { return nil }
        do {
            let decoder = JSONDecoder()
            decoder.keyDecodingStrategy = .convertFromSnakeCase
            return try decoder.decode(type, from: Data(bytes.bytes))
        } catch {
            throw ModelFileError(
                file: file, decoding: error, expected: "a JSON object",
                spelling: { $0.reduce(into: "") { $0 += $1.isUppercase ? "_" + $1.lowercased() : String($1) } })
        }
    }
}

/// The keys that are read, as they stand in the file. Numbers are read as Double, so that one with a fraction or too
/// large for an Int is refused by its key; the decoder itself would call the file no JSON.
private struct RawConfiguration: Decodable {
    var architectures: [String]?
    var modelType: String?
    var vocabSize, hiddenSize, numHiddenLayers, numAttentionHeads, numKeyValueHeads, headDim: Double?
    var intermediateSize, moeIntermediateSize, sharedExpertIntermediateSize: Double?
    var numExperts, numExpertsPerTok, decoderSparseStep, maxPositionEmbeddings: Double?
    var mlpOnlyLayers: [Double]?
    var normTopkProb, tieWordEmbeddings, qkvBias, useSlidingWindow: Bool?
    var rmsNormEps, ropeTheta: Double?
    var ropeScaling, ropeParameters: RopeParameters?
    var hiddenAct: String?
    var eosTokenId: TokenIDs?

    struct RopeParameters: Decodable {
        var type, ropeType: String?
        var ropeTheta, factor: Double?
    }
}

private struct RawGenerationConfiguration: Decodable {
    var eosTokenId: TokenIDs?
}

/// One id, or a list of ids.
private struct TokenIDs: Decodable {
    var ids: [Double]

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if let id = try? container.decode(Double.self) {
            ids = [id]
        } else if let list = try? container.decode([Double].self) {
            ids = list
        } else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "a token id or a list of them")
        }
    }
}
