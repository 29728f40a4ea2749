// Qwen3-MoE: each head of queries and keys is normalised, no shared expert. Some layers may be dense.

public import Compute

/// A Qwen3-MoE model (Qwen team, arXiv:2505.09388).
public struct Qwen3MoE: LanguageModel {
    public static let conventions = Conventions()
    public let configuration: ModelConfiguration
    public let decoder: DecoderStack

    public init(_ model: ModelConfiguration, weights: WeightLoader, positions: Int) throws(ModelFileError) {
        configuration = model
        let angles = model.makeAngles(positions: positions)
        decoder = try DecoderStack(model, from: weights) { (name, layer) throws(ModelFileError) in
            try DecoderLayer(
                name, model,
                attention: Attention(
                    "\(name).self_attn", model, layer: layer, angles: angles, norms: .heads, outputBias: true,
                    from: weights),
                mlp: model.routes(layer)
                    ? SparseMLP("\(name).mlp", model, layer: layer, from: weights)
                    : DenseMLP("\(name).mlp", model, from: weights),
                from: weights)
        }
    }
}
