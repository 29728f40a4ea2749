// The configurations of published models, and their parameters.

import Compute
import Foundation
import Support
import Testing

@testable import Models

/// A published model by its config.json, as far as it is read.
struct Published: CustomTestStringConvertible, Sendable {
    var name: String
    var config: String
    /// Billions of parameters: all, as their authors state, and those that a token uses, of which some authors leave out
    /// embeddings.
    var total: Double
    var active: Double
    var kvBytesPerToken: Int
    var testDescription: String { name }
}

@Suite struct PublishedSizesTests {
    private static let yarn = """
        "rope_scaling": {"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096, "mscale": 1, \
        "mscale_all_dim": 1}, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "kv_lora_rank": 512, \
        "max_position_embeddings": 163840
        """

    static let models = [
        Published(
            name: "Qwen1.5-MoE-A2.7B",
            config: """
                "architectures": ["Qwen2MoeForCausalLM"], "vocab_size": 151936, "hidden_size": 2048, "num_experts": 60, \
                "num_hidden_layers": 24, "num_attention_heads": 16, "num_experts_per_tok": 4, \
                "moe_intermediate_size": 1408, "shared_expert_intermediate_size": 5632, "max_position_embeddings": 8192
                """, total: 14.3, active: 2.7, kvBytesPerToken: 393_216),
        Published(
            name: "Qwen3-30B-A3B",
            config: """
                "architectures": ["Qwen3MoeForCausalLM"], "vocab_size": 151936, "hidden_size": 2048, "head_dim": 128, \
                "num_hidden_layers": 48, "num_attention_heads": 32, "num_key_value_heads": 4, "num_experts": 128, \
                "num_experts_per_tok": 8, "moe_intermediate_size": 768, "max_position_embeddings": 40960
                """, total: 30.5, active: 3.4, kvBytesPerToken: 196_608),
        Published(
            name: "Mixtral-8x7B",
            config: """
                "architectures": ["MixtralForCausalLM"], "vocab_size": 32000, "hidden_size": 4096, \
                "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "num_local_experts": 8, \
                "num_experts_per_tok": 2, "intermediate_size": 14336, "max_position_embeddings": 32768
                """, total: 46.7, active: 12.9, kvBytesPerToken: 262_144),
        Published(
            name: "OLMoE-1B-7B",
            config: """
                "architectures": ["OlmoeForCausalLM"], "vocab_size": 50304, "hidden_size": 2048, "num_experts": 64, \
                "num_hidden_layers": 16, "num_attention_heads": 16, "num_experts_per_tok": 8, \
                "intermediate_size": 1024, "max_position_embeddings": 4096
                """, total: 6.9, active: 1.3, kvBytesPerToken: 262_144),
        Published(
            name: "DeepSeek-V2-Lite",
            config: """
                "architectures": ["DeepseekV2ForCausalLM"], "vocab_size": 102400, "hidden_size": 2048, \
                "num_hidden_layers": 27, "num_attention_heads": 16, "n_routed_experts": 64, "n_shared_experts": 2, \
                "num_experts_per_tok": 6, "moe_intermediate_size": 1408, "intermediate_size": 10944, \
                "first_k_dense_replace": 1, "q_lora_rank": null, \(yarn)
                """, total: 15.7, active: 2.7, kvBytesPerToken: 62_208),
        Published(
            name: "DeepSeek-V2",
            config: """
                "architectures": ["DeepseekV2ForCausalLM"], "vocab_size": 102400, "hidden_size": 5120, \
                "num_hidden_layers": 60, "num_attention_heads": 128, "n_routed_experts": 160, "n_shared_experts": 2, \
                "num_experts_per_tok": 6, "moe_intermediate_size": 1536, "intermediate_size": 12288, \
                "first_k_dense_replace": 1, "q_lora_rank": 1536, \(yarn)
                """, total: 235.7, active: 21.4, kvBytesPerToken: 138_240),
        Published(
            name: "DeepSeek-V3",
            config: """
                "architectures": ["DeepseekV3ForCausalLM"], "vocab_size": 129280, "hidden_size": 7168, \
                "num_hidden_layers": 61, "num_attention_heads": 128, "n_routed_experts": 256, "n_shared_experts": 1, \
                "num_experts_per_tok": 8, "moe_intermediate_size": 2048, "intermediate_size": 18432, "n_group": 8, \
                "first_k_dense_replace": 3, "q_lora_rank": 1536, "topk_group": 4, \(yarn)
                """, total: 671, active: 37.6, kvBytesPerToken: 140_544),
    ]

    @Test("a published configuration has the parameters of the published model", arguments: models)
    func sizes(model: Published) throws {
        let folder = try TemporaryFolder()
        try folder.write("{\(model.config)}".utf8, to: "config.json")
        let configuration = try ModelConfiguration(ModelFiles(directory: folder.path))
        let survey = WeightSurvey(configuration, of: nil)
        #expect(survey.problems.isEmpty)
        #expect((Double(survey.parameters) / 1e8).rounded() / 10 == model.total)
        #expect((Double(survey.activeParameters) / 1e8).rounded() / 10 == model.active, "\(survey.activeParameters)")
        let bytes = CacheType.allCases.map { configuration.layers * configuration.cacheShape($0).bytesPerToken }
        #expect(bytes == [model.kvBytesPerToken, model.kvBytesPerToken / 2])
    }
}
