// Qwen2MoE: Qwen1.5-MoE and Qwen2-MoE (Qwen team, arXiv:2407.10671): pre-norm decoder, grouped-query attention with
// biases, softmax top-k routing, a shared expert behind a sigmoid gate. Some layers may be dense.

public import Compute
public import Experts

/// A Qwen2-MoE model.
public struct Qwen2MoE: LanguageModel {
    /// The model's numbers.
    public let configuration: ModelConfiguration
    /// Softmax over all experts, then the K best.
    public let gate: GateRule
    let embedding: Tensor
    let layers: [Layer]
    private let norm: RMSNorm
    private let head: Linear

    /// One decoder layer.
    struct Layer: Sendable {
        let attention: Attention
        let norm: RMSNorm
        let mlp: MLP

        enum MLP: Sendable {
            case dense(DenseMLP)
            case sparse(SparseMLP)
        }

        /// `hidden += attention(norm(hidden)); hidden += mlp(norm(hidden))`.
        func callAsFunction(_ pass: ForwardPass) {
            let (work, count) = (pass.workspace, pass.tokens.count)
            attention(pass)
            norm(work.hidden, count: count, out: work.normed, on: pass.backend)
            switch mlp {
            case .sparse(let mlp): mlp(pass)
            case .dense(let mlp):
                mlp(
                    work.normed, count: count, activations: work.denseActivations, out: work.hidden, adding: true,
                    on: pass.backend)
            }
        }
    }

    /// Loads the weights; rotary angles are computed for `positions` positions.
    ///
    /// - Throws: `ModelFileError` when a tensor is missing or has another shape.
    public init(_ model: ModelConfiguration, weights: WeightLoader, positions: Int) throws(ModelFileError) {
        configuration = model
        gate = .softmax(renormalize: model.normalizesTopK)
        let table = "model.embed_tokens.weight"
        embedding = try weights.tensor(table, shape: [model.vocabularySize, model.hiddenSize])
        let angles = RotaryTable(positions: positions, dimension: model.headDimension, base: model.ropeBase)
        let sparse = Set(model.sparseLayers)
        var layers: [Layer] = []
        for layer in 0..<model.layers {
            let prefix = "model.layers.\(layer)"
            layers.append(
                Layer(
                    attention: try Attention(model, layer: layer, angles: angles, from: weights),
                    norm: try RMSNorm(
                        "\(prefix).post_attention_layernorm", width: model.hiddenSize, epsilon: model.normEpsilon,
                        from: weights),
                    mlp: sparse.contains(layer)
                        ? .sparse(try SparseMLP(model, layer: layer, from: weights))
                        : .dense(
                            try DenseMLP(
                                "\(prefix).mlp", hidden: model.hiddenSize, inner: model.intermediateSize,
                                from: weights))))
        }
        self.layers = layers
        norm = try RMSNorm("model.norm", width: model.hiddenSize, epsilon: model.normEpsilon, from: weights)
        head =
            model.tiesEmbeddings
            ? try Linear(tied: table, outputs: model.vocabularySize, inputs: model.hiddenSize, from: weights)
            : try Linear([("lm_head", model.vocabularySize)], inputs: model.hiddenSize, from: weights)
    }

    /// Embedding and all decoder layers.
    public func forward(_ pass: ForwardPass) {
        pass.backend.embed(pass.tokens, table: embedding, out: pass.workspace.hidden)
        for layer in layers { layer(pass) }
    }

    /// The final norm and the output projection.
    public func logits(_ pass: ForwardPass, rows: UnsafePointer<Int32>, count: Int) {
        let work = pass.workspace
        norm(work.hidden, rows: rows, count: count, out: work.final, on: pass.backend)
        head(work.final, count: count, out: work.logits, on: pass.backend)
    }
}
