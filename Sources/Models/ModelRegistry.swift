// ModelRegistry: which architecture is which model. Adding a model is a line here and a file.

public import Compute

/// The architectures that can be served.
public enum ModelRegistry {
    private static let models: [String: any LanguageModel.Type] = [
        "DeepseekV2ForCausalLM": DeepSeekV2.self,
        "DeepseekV3ForCausalLM": DeepSeekV3.self,
        "MixtralForCausalLM": Mixtral.self,
        "OlmoeForCausalLM": OLMoE.self,
        "Qwen2MoeForCausalLM": Qwen2MoE.self,
        "Qwen3MoeForCausalLM": Qwen3MoE.self,
    ]

    /// Names of the known architectures, as `architectures` in config.json spells them.
    public static var architectures: [String] { models.keys.sorted() }

    /// The model of `architecture`; `file` is for messages.
    ///
    /// - Throws: `ModelFileError` when the architecture is unknown.
    static func model(_ architecture: String, file: String) throws(ModelFileError) -> any LanguageModel.Type {
        guard let model = models[architecture] else {
            throw ModelFileError(
                file: file, item: "architectures", found: architecture,
                expected: "one of \(architectures.joined(separator: ", "))")
        }
        return model
    }

    /// Loads the model that `configuration` names, for sequences of up to `positions` tokens; `file` is for messages.
    ///
    /// - Throws: `ModelFileError` when the architecture is unknown or a weight is missing or misshapen.
    public static func load(
        _ configuration: ModelConfiguration, weights: WeightLoader, positions: Int, file: String
    ) throws(ModelFileError) -> any LanguageModel {
        weights.scaleBlocks = configuration.scaleBlocks
        return try model(configuration.architecture, file: file).init(
            configuration, weights: weights, positions: positions)
    }
}
