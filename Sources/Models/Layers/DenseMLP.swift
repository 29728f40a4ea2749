// DenseMLP: down(silu(gate(x)) ⊙ up(x)) (Shazeer, arXiv:2002.05202).

internal import Compute

/// A gated MLP that every token passes.
struct DenseMLP: Block {
    private let gateUp: Matrix
    private let down: Linear

    /// Loads `name.gate_proj`, `name.up_proj` and `name.down_proj`.
    init(_ name: String, hidden: Int, inner: Int, from weights: WeightLoader) throws(ModelFileError) {
        gateUp = try weights.gatedMatrix(
            gate: "\(name).gate_proj.weight", up: "\(name).up_proj.weight", outputs: inner, inputs: hidden)
        down = try Linear([("\(name).down_proj", hidden)], inputs: inner, from: weights)
    }

    /// The MLP of a dense layer.
    init(_ name: String, _ model: ModelConfiguration, from weights: WeightLoader) throws(ModelFileError) {
        try self.init(name, hidden: model.hiddenSize, inner: model.intermediateSize, from: weights)
    }

    /// `out = mlp(x)`, or that added to `out`.
    func callAsFunction(
        _ x: Buffer, count: Int, activations: Buffer, out: Buffer, adding: Bool, on backend: any Backend
    ) {
        backend.gatedLinear(x, count: count, weight: gateUp, out: activations)
        down(activations, count: count, out: out, adding: adding, on: backend)
    }

    func callAsFunction(_ pass: ForwardPass) {
        let work = pass.workspace
        self(
            work.normed, count: pass.tokens.count, activations: work.denseActivations, out: work.hidden, adding: true,
            on: pass.backend)
    }
}
