// LanguageModel: what the engine asks of any model.

public import Compute
public import Experts

/// A model that predicts the next token.
public protocol LanguageModel: Sendable {
    /// The model's numbers.
    var configuration: ModelConfiguration { get }
    /// How its router chooses.
    var gate: GateRule { get }

    /// Loads the model's weights.
    ///
    /// - Throws: `ModelFileError` when a tensor is missing or has another shape.
    init(_ configuration: ModelConfiguration, weights: WeightLoader, positions: Int) throws(ModelFileError)

    /// Computes `pass.workspace.hidden` and the cache's entries of the pass's tokens.
    func forward(_ pass: ForwardPass)

    /// Computes `pass.workspace.logits` for the `count` tokens `rows` of the pass, at most
    /// `pass.workspace.logitRows`.
    func logits(_ pass: ForwardPass, rows: UnsafePointer<Int32>, count: Int)
}
