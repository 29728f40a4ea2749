// DenseMLP: down(silu(gate(x)) ⊙ up(x)) (Shazeer, arXiv:2002.05202).

internal import Compute

/// The gated MLP of a dense layer.
struct DenseMLP: Block {
    private let gateUp: Matrix
    private let down: Linear

    /// Loads `name.gate_proj`, `name.up_proj` and `name.down_proj`.
    init(_ name: String, _ model: ModelConfiguration, from weights: WeightLoader) throws(ModelFileError) {
        let (hidden, inner) = (model.hiddenSize, model.intermediateSize)
        gateUp = try weights.gatedMatrix(
            gate: "\(name).gate_proj.weight", up: "\(name).up_proj.weight", outputs: inner, inputs: hidden)
        down = try Linear([("\(name).down_proj", hidden)], inputs: inner, from: weights)
    }

    /// `hidden += mlp(x)`, where x is `normed`.
    func callAsFunction(_ pass: ForwardPass) {
        let (work, count) = (pass.workspace, pass.tokens.count)
        pass.backend.gatedLinear(work.normed, count: count, weight: gateUp, out: work.denseActivations)
        down(work.denseActivations, count: count, out: work.hidden, adding: true, on: pass.backend)
    }
}
