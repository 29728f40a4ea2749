// LanguageModel: what the engine asks of any model, and what a model's file says.

public import Compute

/// A model that predicts the next token: a stack of layers, and what its config.json leaves unsaid.
public protocol LanguageModel: Sendable {
    /// What the architecture's config.json leaves unsaid.
    static var conventions: Conventions { get }
    /// The model's numbers.
    var configuration: ModelConfiguration { get }
    /// The model's layers.
    var decoder: DecoderStack { get }

    /// Whether tokens of a prompt are computed in another way than generated ones, so that equal tokens behind equal tokens
    /// have other bits. Then what was generated must be computed again when it is part of a prompt.
    static var tellsPromptsFromOutput: Bool { get }

    /// Loads the model's weights; rotary angles are computed for `positions` positions.
    ///
    /// - Throws: `ModelFileError` when a tensor is missing or has another shape.
    init(_ model: ModelConfiguration, weights: WeightLoader, positions: Int) throws(ModelFileError)
}

extension LanguageModel {
    /// A token is a token.
    public static var tellsPromptsFromOutput: Bool { false }

    /// Computes `pass.workspace.hidden` and the cache's entries of the pass's tokens.
    public func forward(_ pass: ForwardPass) { decoder.forward(pass) }

    /// Computes `pass.workspace.logits` for the `count` tokens `rows` of the pass, at most
    /// `pass.workspace.logitRows`.
    public func logits(_ pass: ForwardPass, rows: UnsafePointer<Int32>, count: Int) {
        decoder.logits(pass, rows: rows, count: count)
    }
}
