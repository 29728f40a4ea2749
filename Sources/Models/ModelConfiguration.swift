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
        func require(_ value: Int?, _ key: String, _ range: ClosedRange<Int> = 1...1 << 24) throws(ModelFileError) -> Int {
            guard let value, range.contains(value) else {
                throw ModelFileError(
                    file: file, item: key, found: value.map(String.init) ?? "nothing",
                    expected: "a number from \(range.lowerBound) to \(range.upperBound)")
            }
            return value
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
        headDimension = try require(raw.headDim ?? hiddenSize / heads, "head_dim", 2...4096)
        guard headDimension.isMultiple(of: 2) else { throw refuse("head_dim", "\(headDimension)", "an even number") }
        experts = try require(raw.numExperts ?? 0, "num_experts", 0...8192)
        let sparseStep = try require(raw.decoderSparseStep ?? 1, "decoder_sparse_step", 1...1 << 20)
        let denseLayers = Set(raw.mlpOnlyLayers ?? [])
        let (layers, experts) = (layers, experts)
        sparseLayers = (0..<layers).filter {
            experts > 0 && !denseLayers.contains($0) && ($0 + 1).isMultiple(of: sparseStep)
        }
        topK = experts == 0 ? 0 : try require(raw.numExpertsPerTok, "num_experts_per_tok", 1...min(experts, 16))
        expertSize = experts == 0 ? 0 : try require(raw.moeIntermediateSize, "moe_intermediate_size", 1...1 << 20)
        sharedExpertSize = try require(
            raw.sharedExpertIntermediateSize ?? 0, "shared_expert_intermediate_size", 0...1 << 20)
        intermediateSize =
            sparseLayers.count == layers
            ? raw.intermediateSize ?? 0 : try require(raw.intermediateSize, "intermediate_size", 1...1 << 20)
        normalizesTopK = raw.normTopkProb ?? false
        normEpsilon = Float(raw.rmsNormEps ?? 1e-6)
        let base = raw.ropeTheta ?? raw.ropeParameters?.ropeTheta ?? 10000
        guard base.isFinite, base > 1 else { throw refuse("rope_theta", "\(base)", "a number above 1") }
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
        if let kind = raw.ropeScaling?.type ?? raw.ropeScaling?.ropeType ?? raw.ropeParameters?.ropeType,
            kind != "default"
        {
            throw refuse("rope_scaling", kind, "none: this architecture is supported without rope scaling only")
        }
        var ends: [Int32] = []
        for id in (raw.eosTokenId?.ids ?? []) + (generation?.eosTokenId?.ids ?? []) where !ends.contains(id) {
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
        } catch DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context) {
            throw ModelFileError(
                file: file, item: context.codingPath.map(\.stringValue).joined(separator: "."),
                found: "another type", expected: context.debugDescription)
        } catch {
            throw ModelFileError(file: file, found: "invalid JSON", expected: "a JSON object")
        }
    }
}

/// The keys that are read, as they stand in the file.
private struct RawConfiguration: Decodable {
    var architectures: [String]?
    var modelType: String?
    var vocabSize, hiddenSize, numHiddenLayers, numAttentionHeads, numKeyValueHeads, headDim: Int?
    var intermediateSize, moeIntermediateSize, sharedExpertIntermediateSize: Int?
    var numExperts, numExpertsPerTok, decoderSparseStep, maxPositionEmbeddings: Int?
    var mlpOnlyLayers: [Int]?
    var normTopkProb, tieWordEmbeddings, qkvBias, useSlidingWindow: Bool?
    var rmsNormEps, ropeTheta: Double?
    var ropeScaling, ropeParameters: RopeParameters?
    var hiddenAct: String?
    var eosTokenId: TokenIDs?

    struct RopeParameters: Decodable {
        var type, ropeType: String?
        var ropeTheta: Double?
    }
}

private struct RawGenerationConfiguration: Decodable {
    var eosTokenId: TokenIDs?
}

/// One id, or a list of ids.
private struct TokenIDs: Decodable {
    var ids: [Int32]

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        ids = try (try? container.decode([Int32].self)) ?? [container.decode(Int32.self)]
    }
}
