// ModelRegistry: which architecture is which model. Adding a model is a line here and a file.

public import Compute

/// The architectures that can be served.
public enum ModelRegistry {
    private static let models: [String: any LanguageModel.Type] = [
        "Qwen2MoeForCausalLM": Qwen2MoE.self
    ]

    /// Names of the known architectures, as `architectures` in config.json spells them.
    public static var architectures: [String] { models.keys.sorted() }

    /// Loads the model that `configuration` names, for sequences of up to `positions` tokens; `file` is for messages.
    ///
    /// - Throws: `ModelFileError` when the architecture is unknown or a weight is missing or misshapen.
    public static func load(
        _ configuration: ModelConfiguration, weights: WeightLoader, positions: Int, file: String
    ) throws(ModelFileError) -> any LanguageModel {
        guard let model = models[configuration.architecture] else {
            throw ModelFileError(
                file: file, item: "architectures", found: configuration.architecture,
                expected: "one of \(architectures.joined(separator: ", "))")
        }
        return try model.init(configuration, weights: weights, positions: positions)
    }
}
