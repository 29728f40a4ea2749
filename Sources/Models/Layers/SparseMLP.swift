// SparseMLP: a router, its experts, and a shared expert where a model has one.

internal import Compute

/// One layer's mixture of experts.
struct SparseMLP: Block {
    private let layer: Int
    private let topK: Int
    private let router: Linear
    private let correction: Buffer?
    private let gateUp: Matrix  // [E] x [2 expertSize, hidden]
    private let down: Matrix  // [E] x [hidden, expertSize]
    private let shared: SharedExpert?

    /// What a checkpoint calls an expert's projections.
    struct Projections {
        var gate = "gate_proj"
        var up = "up_proj"
        var down = "down_proj"
    }

    /// Loads the router `name.gate` and the experts `name.experts.0`, `name.experts.1`, … of layer `layer`.
    init(
        _ name: String, _ model: ModelConfiguration, layer: Int, projections: Projections = Projections(),
        shared: SharedExpert? = nil, from weights: WeightLoader
    ) throws(ModelFileError) {
        let (hidden, inner) = (model.hiddenSize, model.expertSize)
        let experts = (0..<model.experts).map { "\(name).experts.\($0)" }
        self.layer = layer
        self.shared = shared
        topK = model.topK
        router = try Linear([("\(name).gate", model.experts)], inputs: hidden, role: .gate, from: weights)
        correction =
            model.hasCorrectionBias
            ? try weights.vector([NamedRows(name: "\(name).gate.e_score_correction_bias", total: model.experts)]) : nil
        gateUp = try weights.gatedExperts(
            experts.map { ("\($0).\(projections.gate).weight", "\($0).\(projections.up).weight") }, outputs: inner,
            inputs: hidden)
        down = try weights.experts(
            experts.map { "\($0).\(projections.down).weight" }, outputs: hidden, inputs: inner)
    }

    /// `hidden += Σ_k weight_k * expert_k(x) + shared(x)`, where x is `normed`.
    func callAsFunction(_ pass: ForwardPass) {
        let (backend, work, count) = (pass.backend, pass.workspace, pass.tokens.count)
        router(work.normed, count: count, out: work.routerLogits, on: backend)
        backend.route(
            work.routerLogits, bias: correction, count: count, keeping: pass.record.row(layer: layer),
            into: work.routing)
        backend.experts(
            work.normed, routing: work.routing, gateUp: gateUp, down: down, activations: work.activations,
            out: work.routed, shared: shared?.matrices(in: work))
        backend.combine(
            work.routed, count: count, topK: topK, factor: 1, shared: shared == nil ? nil : work.shared,
            gate: shared?.gate.map { SharedGate(x: work.normed, weight: $0) }, out: work.hidden)
    }
}

/// The experts that every token passes, as one MLP; behind a sigmoid gate in Qwen2-MoE.
struct SharedExpert: Sendable {
    private let gateUp: Matrix
    private let down: Matrix
    /// What its output is multiplied by the sigmoid of, `[1, hidden]`; nil for nothing.
    let gate: Buffer?

    /// Loads the MLP `name`, and the gate `gate` if there is one; nil for a model without shared experts.
    init?(
        _ name: String, gate: String? = nil, _ model: ModelConfiguration, from weights: WeightLoader
    ) throws(ModelFileError) {
        guard model.sharedExpertSize > 0 else { return nil }
        let (hidden, inner) = (model.hiddenSize, model.sharedExpertSize)
        gateUp = try weights.gatedMatrix(
            gate: "\(name).gate_proj.weight", up: "\(name).up_proj.weight", outputs: inner, inputs: hidden)
        down = try weights.matrix([NamedRows(name: "\(name).down_proj.weight", total: hidden)], inputs: inner)
        self.gate =
            if let gate {
                try weights.row("\(gate).weight", inputs: hidden)
            } else {
                nil
            }
    }

    /// What `Backend.experts` computes beside the routed experts: `shared = mlp(x)`, which `SparseMLP` adds to their sum.
    func matrices(in work: Workspace) -> SharedMLP {
        SharedMLP(gateUp: gateUp, down: down, activations: work.sharedActivations, out: work.shared)
    }
}
