// Mixtral: grouped-query attention, every layer a mixture of a few wide experts.

public import Compute

/// A Mixtral model (Jiang et al., arXiv:2401.04088).
public struct Mixtral: LanguageModel {
    public static let conventions = Conventions(
        renormalizes: true, expertsAreIntermediate: true, normEpsilon: 1e-5, ropeBase: 1e6, windowAloneCounts: true)
    public let configuration: ModelConfiguration
    public let decoder: DecoderStack

    public init(_ model: ModelConfiguration, weights: WeightLoader, positions: Int) throws(ModelFileError) {
        configuration = model
        let angles = model.makeAngles(positions: positions)
        decoder = try DecoderStack(model, from: weights) { (name, layer) throws(ModelFileError) in
            try DecoderLayer(
                name, model,
                attention: Attention("\(name).self_attn", model, layer: layer, angles: angles, from: weights),
                mlp: SparseMLP(
                    "\(name).block_sparse_moe", model, layer: layer,
                    projections: SparseMLP.Projections(gate: "w1", up: "w3", down: "w2"), from: weights),
                from: weights)
        }
    }
}
