// OLMoE: queries and keys are normalised over their whole width, every layer routes.

public import Compute

/// An OLMoE model (Muennighoff et al., arXiv:2409.02060).
public struct OLMoE: LanguageModel {
    public static let conventions = Conventions(expertsAreIntermediate: true, normEpsilon: 1e-5)
    public let configuration: ModelConfiguration
    public let decoder: DecoderStack

    public init(_ model: ModelConfiguration, weights: WeightLoader, positions: Int) throws(ModelFileError) {
        configuration = model
        let angles = model.makeAngles(positions: positions)
        decoder = try DecoderStack(model, from: weights) { (name, layer) throws(ModelFileError) in
            try DecoderLayer(
                name, model,
                attention: Attention(
                    "\(name).self_attn", model, layer: layer, angles: angles, norms: .rows, outputBias: true,
                    from: weights),
                mlp: SparseMLP("\(name).mlp", model, layer: layer, from: weights), from: weights)
        }
    }
}
