// Qwen2-MoE: attention with biases, a shared expert behind a sigmoid gate. Some layers may be dense.

public import Compute

/// A Qwen2-MoE model (Qwen team, arXiv:2407.10671).
public struct Qwen2MoE: LanguageModel {
    public static let conventions = Conventions(attentionBias: true)
    public let configuration: ModelConfiguration
    public let decoder: DecoderStack

    public init(_ model: ModelConfiguration, weights: WeightLoader, positions: Int) throws(ModelFileError) {
        configuration = model
        let angles = model.makeAngles(positions: positions)
        decoder = try DecoderStack(model, from: weights) { (name, layer) throws(ModelFileError) in
            try DecoderLayer(
                name, model,
                attention: Attention("\(name).self_attn", model, layer: layer, angles: angles, from: weights),
                mlp: model.routes(layer)
                    ? SparseMLP(
                        "\(name).mlp", model, layer: layer,
                        shared: SharedExpert(
                            "\(name).mlp.shared_expert", gate: "\(name).mlp.shared_expert_gate", model, from: weights),
                        from: weights)
                    : DenseMLP("\(name).mlp", model, from: weights),
                from: weights)
        }
    }
}
