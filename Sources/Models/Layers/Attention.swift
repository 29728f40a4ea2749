// Attention: grouped-query attention with rotary positions over the paged cache.

internal import Compute

/// One layer's attention: projections, norms of heads where a model has them, rotation, attention, output projection.
struct Attention: Block {
    /// What queries and keys are normalised over before they turn.
    enum Norms {
        case none
        /// Each head alone.
        case heads
        /// All heads of a token together.
        case rows
    }

    private let layer: Int
    private let heads: Int
    private let scale: Float
    private let limit: Float?
    private let qkv: Linear
    private let norms: [HeadNorm]
    private let output: Linear
    private let angles: RotaryTable

    /// The norm of some heads of `qkv`.
    private struct HeadNorm {
        var first: Int
        var segments: Int
        var norm: RMSNorm
    }

    /// Loads `name.q_proj` and so on, of layer `layer`.
    init(
        _ name: String, _ model: ModelConfiguration, layer: Int, angles: RotaryTable, norms: Norms = .none,
        outputBias: Bool = false, from weights: WeightLoader
    ) throws(ModelFileError) {
        let (width, q, kv) = (
            model.headDimension, model.heads * model.headDimension, model.kvHeads * model.headDimension
        )
        self.layer = layer
        self.angles = angles
        heads = model.heads
        scale = model.scoreFactor / Float(width).squareRoot()
        limit = model.attentionLimit
        qkv = try Linear(
            [("\(name).q_proj", q), ("\(name).k_proj", kv), ("\(name).v_proj", kv)], inputs: model.hiddenSize,
            bias: model.hasAttentionBias, from: weights)
        func norm(_ part: String, first: Int, heads: Int) throws(ModelFileError) -> HeadNorm {
            let segments = norms == .heads ? heads : 1
            return HeadNorm(
                first: first, segments: segments,
                norm: try RMSNorm(
                    "\(name).\(part)", width: heads * width / segments, epsilon: model.normEpsilon, from: weights))
        }
        self.norms =
            norms == .none
            ? []
            : [
                try norm("q_norm", first: 0, heads: model.heads), try norm("k_norm", first: q, heads: model.kvHeads),
            ]
        output = try Linear(
            [("\(name).o_proj", model.hiddenSize)], inputs: q, bias: model.hasAttentionBias && outputBias, from: weights
        )
    }

    func callAsFunction(_ pass: ForwardPass) {
        let (backend, work, count) = (pass.backend, pass.workspace, pass.tokens.count)
        qkv(work.normed, count: count, out: work.qkv, on: backend)
        for part in norms {
            part.norm(segments: part.segments, from: part.first, of: work.qkv, count: count, on: backend)
        }
        if let limit { backend.clamp(work.qkv, count: count, limit: limit) }
        backend.rotate(
            work.qkv, tokens: pass.tokens, cache: pass.cache, layer: layer, heads: heads, angles: angles)
        backend.attend(
            work.qkv, tokens: pass.tokens, cache: pass.cache, layer: layer, heads: heads, scale: scale,
            out: work.attended)
        output(work.attended, count: count, out: work.hidden, adding: true, on: backend)
    }
}
