// RawConfiguration: the keys of config.json and generation_config.json that are read, as they stand in the file.

internal import Compute

#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

/// The keys of config.json. Numbers are read as Double, so that one with a fraction or too large for an Int is refused by
/// its key; the decoder itself would call the file no JSON.
struct RawConfiguration: Decodable {
    var architectures: [String]?
    var modelType: String?
    var vocabSize, hiddenSize, numHiddenLayers, numAttentionHeads, numKeyValueHeads, headDim: Double?
    var intermediateSize, moeIntermediateSize, sharedExpertIntermediateSize: Double?
    var numExperts, numLocalExperts, nRoutedExperts, nSharedExperts, numExpertsPerTok: Double?
    var decoderSparseStep, firstKDenseReplace, moeLayerFreq, maxPositionEmbeddings: Double?
    var mlpOnlyLayers: [Double]?
    var qLoraRank, kvLoraRank, qkNopeHeadDim, qkRopeHeadDim, vHeadDim: Double?
    var nGroup, topkGroup, routedScalingFactor: Double?
    var topkMethod, scoringFunc: String?
    var normTopkProb, tieWordEmbeddings, qkvBias, attentionBias, useSlidingWindow, ropeInterleave: Bool?
    var slidingWindow, clipQkv, rmsNormEps, ropeTheta: Double?
    var ropeScaling, ropeParameters: RopeParameters?
    var hiddenAct, torchDtype, dtype: String?
    var quantizationConfig: Quantization?
    var eosTokenId: TokenIDs?

    struct RopeParameters: Decodable {
        var type, ropeType: String?
        var ropeTheta, factor, originalMaxPositionEmbeddings, betaFast, betaSlow: Double?
        var mscale, mscaleAllDim, attentionFactor: Double?
    }

    struct Quantization: Decodable {
        var quantMethod, fmt: String?
        var weightBlockSize: [Double]?
    }

    /// The file `name` of a model, decoded; nil when there is none.
    static func read<Value: Decodable>(
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

/// The keys of generation_config.json.
struct RawGenerationConfiguration: Decodable {
    var eosTokenId: TokenIDs?
}

/// One id, or a list of ids.
struct TokenIDs: Decodable {
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
