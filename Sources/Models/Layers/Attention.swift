// Attention: grouped-query attention with rotary positions over the paged cache.

internal import Compute

/// One layer's attention block: norm, projections, rotation, attention, output projection, residual.
struct Attention: Sendable {
    private let layer: Int
    private let heads: Int
    private let scale: Float
    private let norm: RMSNorm
    private let qkv: Linear
    private let output: Linear
    private let angles: RotaryTable

    /// Loads the attention block of layer `layer`.
    init(_ model: ModelConfiguration, layer: Int, angles: RotaryTable, from weights: WeightLoader)
        throws(ModelFileError)
    {
        let prefix = "model.layers.\(layer)"
        let (q, kv) = (model.heads * model.headDimension, model.kvHeads * model.headDimension)
        self.layer = layer
        self.angles = angles
        heads = model.heads
        scale = 1 / Float(model.headDimension).squareRoot()
        norm = try RMSNorm(
            "\(prefix).input_layernorm", width: model.hiddenSize, epsilon: model.normEpsilon, from: weights)
        qkv = try Linear(
            [
                ("\(prefix).self_attn.q_proj", q), ("\(prefix).self_attn.k_proj", kv),
                ("\(prefix).self_attn.v_proj", kv),
            ],
            inputs: model.hiddenSize, bias: model.hasAttentionBias, from: weights)
        output = try Linear([("\(prefix).self_attn.o_proj", model.hiddenSize)], inputs: q, from: weights)
    }

    /// `hidden += attention(norm(hidden))`.
    func callAsFunction(_ pass: ForwardPass) {
        let (backend, work, count) = (pass.backend, pass.workspace, pass.tokens.count)
        norm(work.hidden, count: count, out: work.normed, on: backend)
        qkv(work.normed, count: count, out: work.qkv, on: backend)
        backend.rotate(
            work.qkv, tokens: pass.tokens, cache: pass.cache, layer: layer, heads: heads, angles: angles)
        backend.attend(
            work.qkv, tokens: pass.tokens, cache: pass.cache, layer: layer, heads: heads, scale: scale,
            out: work.attended)
        output(work.attended, count: count, out: work.hidden, adding: true, on: backend)
    }
}
