// DeepSeek: V2 and V3. Latent attention, dense layers first, then mixtures with shared experts that have no gate. V3
// scores by sigmoid and balances by a bias per expert; its layers for predicting further tokens are left out.

public import Compute
internal import Experts

/// A DeepSeek-V2 model (DeepSeek-AI, arXiv:2405.04434).
public struct DeepSeekV2: LanguageModel {
    public static let conventions = Conventions(isLatent: true)
    public static let tellsPromptsFromOutput = true
    public let configuration: ModelConfiguration
    public let decoder: DecoderStack

    public init(_ model: ModelConfiguration, weights: WeightLoader, positions: Int) throws(ModelFileError) {
        configuration = model
        decoder = try DecoderStack(latent: model, positions: positions, from: weights)
    }
}

/// A DeepSeek-V3 or DeepSeek-R1 model (DeepSeek-AI, arXiv:2412.19437).
public struct DeepSeekV3: LanguageModel {
    public static let conventions = Conventions(
        renormalizes: true, isLatent: true, scoring: .sigmoid, selection: "noaux_tc")
    public static let tellsPromptsFromOutput = true
    public let configuration: ModelConfiguration
    public let decoder: DecoderStack

    public init(_ model: ModelConfiguration, weights: WeightLoader, positions: Int) throws(ModelFileError) {
        configuration = model
        decoder = try DecoderStack(latent: model, positions: positions, from: weights)
    }
}

extension DecoderStack {
    /// The layers that V2 and V3 share.
    fileprivate init(
        latent model: ModelConfiguration, positions: Int, from weights: WeightLoader
    ) throws(ModelFileError) {
        let angles = model.makeAngles(positions: positions)
        try self.init(model, from: weights) { (name, layer) throws(ModelFileError) in
            try DecoderLayer(
                name, model,
                attention: LatentAttention("\(name).self_attn", model, layer: layer, angles: angles, from: weights),
                mlp: model.routes(layer)
                    ? SparseMLP(
                        "\(name).mlp", model, layer: layer,
                        shared: SharedExpert("\(name).mlp.shared_experts", model, from: weights), from: weights)
                    : DenseMLP("\(name).mlp", model, from: weights),
                from: weights)
        }
    }
}
