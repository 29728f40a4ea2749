// LatentAttention: multi-head latent attention (DeepSeek-AI, arXiv:2405.04434), expanded for prompts, absorbed for output.
//
// Keys and values of all heads are projections of one latent c per position, which is all that the cache holds: key = K c,
// value = V c. Prompts expand them again, block by block. As q · (K c) equals (Kᵀ q) · c, and Σ w (V c) equals V Σ w c, a
// token alone is cheaper over the latents themselves: those that were generated absorb the projections into query and
// output. The forms agree to rounding only, so what a token is to its request decides which it takes, never a pass.

internal import Compute

/// One layer's attention over latents.
struct LatentAttention: Block {
    private let layer: Int
    private let heads: Int
    private let scale: Float
    /// Projection and norm of the latent that queries come from, for models that have one.
    private let queryLatent: (down: Linear, norm: RMSNorm)?
    private let query: Linear
    private let latent: Linear
    private let latentNorm: RMSNorm
    private let keyRotary: Linear
    private let absorb: Matrix  // [heads] x [rank, nope]
    private let expand: Matrix  // [heads] x [value, rank]
    private let output: Linear
    private let angles: RotaryTable

    /// The norms within use this, whatever the model's others use.
    private static let epsilon: Float = 1e-6

    /// Loads `name.kv_b_proj` and so on, of layer `layer`.
    init(
        _ name: String, _ model: ModelConfiguration, layer: Int, angles: RotaryTable, from weights: WeightLoader
    ) throws(ModelFileError) {
        guard let shape = model.latent else {
            preconditionFailure("\(model.architecture) without the widths of latents")
        }
        let (hidden, bias, rank, allHeads) = (model.hiddenSize, model.hasAttentionBias, shape.rank, 0..<model.heads)
        self.layer = layer
        self.angles = angles
        heads = model.heads
        scale = model.scoreFactor / Float(model.headDimension).squareRoot()

        // A head's query is [nope | rotary].
        let queryRows = model.heads * model.headDimension
        let queryName: String
        if let queryRank = shape.queryRank {
            queryLatent = (
                try Linear([("\(name).q_a_proj", queryRank)], inputs: hidden, bias: bias, from: weights),
                try RMSNorm("\(name).q_a_layernorm", width: queryRank, epsilon: Self.epsilon, from: weights)
            )
            queryName = "\(name).q_b_proj"
        } else {
            queryLatent = nil
            queryName = "\(name).q_proj"
        }
        query = try Linear(
            queryName,
            rows: allHeads.flatMap {
                let first = $0 * model.headDimension
                return Array(first..<first + shape.nope) + shape.halves(from: first + shape.nope)
            }, of: queryRows, inputs: shape.queryRank ?? hidden, from: weights)

        // The shared part is [latent | rotary].
        func shared(_ rows: [Int]) throws(ModelFileError) -> Linear {
            try Linear(
                "\(name).kv_a_proj_with_mqa", rows: rows, of: rank + shape.rotary, inputs: hidden, bias: bias,
                from: weights)
        }
        latent = try shared(Array(0..<rank))
        latentNorm = try RMSNorm("\(name).kv_a_layernorm", width: rank, epsilon: Self.epsilon, from: weights)
        keyRotary = try shared(shape.halves(from: rank))

        // What a head makes of a latent is [key's nope | value].
        let size = shape.nope + shape.value
        func expansion(_ rows: Range<Int>, isTransposed: Bool) throws(ModelFileError) -> Matrix {
            try weights.heads(
                "\(name).kv_b_proj.weight", shape: [model.heads * size, rank],
                heads: allHeads.map { $0 * size + rows.lowerBound..<$0 * size + rows.upperBound },
                isTransposed: isTransposed)
        }
        absorb = try expansion(0..<shape.nope, isTransposed: true)
        expand = try expansion(shape.nope..<size, isTransposed: false)
        output = try Linear(
            [("\(name).o_proj", hidden)], inputs: model.heads * shape.value, bias: bias, from: weights)
    }

    func callAsFunction(_ pass: ForwardPass) {
        let (backend, count, generated) = (pass.backend, pass.tokens.count, pass.tokens.promptStart)
        let (normed, attended, work) = (pass.workspace.normed, pass.workspace.attended, pass.workspace.latent)
        var source = normed
        if let (down, norm) = queryLatent {
            down(normed, count: count, out: work.queryLatent, on: backend)
            norm(segments: 1, from: 0, of: work.queryLatent, count: count, on: backend)
            source = work.queryLatent
        }
        query(source, count: count, out: work.query, on: backend)
        latent(normed, count: count, out: work.latent, on: backend)
        latentNorm(segments: 1, from: 0, of: work.latent, count: count, on: backend)
        keyRotary(normed, count: count, out: work.keyRotary, on: backend)
        backend.headLinear(work.query, count: generated, weight: absorb, out: work.absorbed)
        backend.storeLatent(
            work.latent, keyRotary: work.keyRotary, query: work.query, absorbed: work.absorbed, tokens: pass.tokens,
            cache: pass.cache, layer: layer, angles: angles)
        backend.attendLatent(
            work.absorbed, tokens: pass.tokens, cache: pass.cache, layer: layer, heads: heads, scale: scale,
            out: work.attended)
        backend.headLinear(work.attended, count: generated, weight: expand, out: attended)
        backend.attendExpanded(
            work.query, tokens: pass.tokens, cache: pass.cache, layer: layer, keys: absorb, values: expand,
            scale: scale,
            block: work.block, out: attended)
        output(attended, count: count, out: pass.workspace.hidden, adding: true, on: backend)
    }
}

extension LatentShape {
    /// The rows of a rotary part that starts at row `first`, so that the numbers of a pair lie half a width apart, as the
    /// backend rotates them. Queries and keys change alike, and so their products do not.
    fileprivate func halves(from first: Int) -> [Int] {
        (0..<rotary).map { index in
            guard isInterleaved else { return first + index }
            return first + (index < rotary / 2 ? 2 * index : 2 * (index - rotary / 2) + 1)
        }
    }
}
