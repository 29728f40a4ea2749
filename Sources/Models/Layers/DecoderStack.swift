// DecoderStack: embedding, pre-norm layers with residual connections, final norm, output projection. What all models share.

internal import Compute

/// A part of a layer that adds to the residual stream.
protocol Block: Sendable {
    /// `hidden += block(normed)`, where `normed` is the normalised `hidden`.
    func callAsFunction(_ pass: ForwardPass)
}

/// One decoder layer.
struct DecoderLayer: Sendable {
    private let attentionNorm: RMSNorm
    private let attention: any Block
    private let mlpNorm: RMSNorm
    private let mlp: any Block

    /// The layer `name` around its attention and its MLP.
    init(
        _ name: String, _ model: ModelConfiguration, attention: any Block, mlp: any Block, from weights: WeightLoader
    ) throws(ModelFileError) {
        func norm(_ part: String) throws(ModelFileError) -> RMSNorm {
            try RMSNorm("\(name).\(part)", width: model.hiddenSize, epsilon: model.normEpsilon, from: weights)
        }
        attentionNorm = try norm("input_layernorm")
        self.attention = attention
        mlpNorm = try norm("post_attention_layernorm")
        self.mlp = mlp
    }

    /// `hidden += attention(norm(hidden)); hidden += mlp(norm(hidden))`.
    func callAsFunction(_ pass: ForwardPass) {
        let (work, count) = (pass.workspace, pass.tokens.count)
        attentionNorm(work.hidden, count: count, out: work.normed, on: pass.backend)
        attention(pass)
        mlpNorm(work.hidden, count: count, out: work.normed, on: pass.backend)
        mlp(pass)
    }
}

/// A stack of decoder layers between the embedding table and the output projection.
public struct DecoderStack: Sendable {
    let embedding: Tensor
    let layers: [DecoderLayer]
    private let norm: RMSNorm
    private let head: Linear

    /// Loads the weights around the layers; `makeLayer` loads a layer's own, given its name and index.
    init(
        _ model: ModelConfiguration, from weights: WeightLoader,
        makeLayer: (_ name: String, _ index: Int) throws(ModelFileError) -> DecoderLayer
    ) throws(ModelFileError) {
        let table = "model.embed_tokens.weight"
        embedding = try weights.tensor(table, shape: [model.vocabularySize, model.hiddenSize])
        var layers: [DecoderLayer] = []
        for index in 0..<model.layers { layers.append(try makeLayer("model.layers.\(index)", index)) }
        self.layers = layers
        norm = try RMSNorm("model.norm", width: model.hiddenSize, epsilon: model.normEpsilon, from: weights)
        head =
            model.tiesEmbeddings
            ? try Linear(tied: table, outputs: model.vocabularySize, inputs: model.hiddenSize, from: weights)
            : try Linear([("lm_head", model.vocabularySize)], inputs: model.hiddenSize, from: weights)
    }

    func forward(_ pass: ForwardPass) {
        pass.backend.embed(pass.tokens, table: embedding, out: pass.workspace.hidden)
        for layer in layers { layer(pass) }
    }

    func logits(_ pass: ForwardPass, rows: UnsafePointer<Int32>, count: Int) {
        let work = pass.workspace
        norm(work.hidden, rows: rows, count: count, out: work.final, on: pass.backend)
        head(work.final, count: count, out: work.logits, on: pass.backend)
    }
}
