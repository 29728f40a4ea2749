// SparseMLP: a router, its experts, and the shared expert with its sigmoid gate (Qwen2-MoE).

internal import Compute

/// One layer's mixture of experts.
struct SparseMLP: Sendable {
    private let layer: Int
    private let topK: Int
    private let router: Linear
    private let gateUp: Matrix  // [E] x [2 expertSize, hidden]
    private let down: Matrix  // [E] x [hidden, expertSize]
    private let shared: DenseMLP?
    private let sharedGate: Linear?

    /// Loads the MLP of layer `layer`.
    init(_ model: ModelConfiguration, layer: Int, from weights: WeightLoader) throws(ModelFileError) {
        let prefix = "model.layers.\(layer).mlp"
        let (hidden, inner) = (model.hiddenSize, model.expertSize)
        let experts = (0..<model.experts).map { "\(prefix).experts.\($0)" }
        self.layer = layer
        topK = model.topK
        router = try Linear([("\(prefix).gate", model.experts)], inputs: hidden, from: weights)
        gateUp = try weights.gatedExperts(
            experts.map { ("\($0).gate_proj.weight", "\($0).up_proj.weight") }, outputs: inner, inputs: hidden)
        down = try weights.experts(experts.map { "\($0).down_proj.weight" }, outputs: hidden, inputs: inner)
        guard model.sharedExpertSize > 0 else {
            (shared, sharedGate) = (nil, nil)
            return
        }
        shared = try DenseMLP("\(prefix).shared_expert", hidden: hidden, inner: model.sharedExpertSize, from: weights)
        sharedGate = try Linear([("\(prefix).shared_expert_gate", 1)], inputs: hidden, from: weights)
    }

    /// `hidden += Σ_k weight_k * expert_k(x) + sigmoid(g · x) * shared(x)`, where x is `normed`.
    func callAsFunction(_ pass: ForwardPass) {
        let (backend, work, count) = (pass.backend, pass.workspace, pass.tokens.count)
        router(work.normed, count: count, out: work.routerLogits, on: backend)
        backend.route(
            work.routerLogits, count: count, keeping: pass.record.row(layer: layer), into: work.routing)
        backend.experts(
            work.normed, routing: work.routing, gateUp: gateUp, down: down, activations: work.activations,
            out: work.routed)
        if let shared, let sharedGate {
            shared(
                work.normed, count: count, activations: work.sharedActivations, out: work.shared, adding: false,
                on: backend)
            sharedGate(work.normed, count: count, out: work.sharedGate, on: backend)
        }
        backend.combine(
            work.routed, count: count, topK: topK, factor: 1, shared: shared == nil ? nil : work.shared,
            sharedGate: sharedGate == nil ? nil : work.sharedGate, out: work.hidden)
    }
}
