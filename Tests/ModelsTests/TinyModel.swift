// TinyModel: seeded random models of odd dimensions, as a folder's files and as plain numbers.

import Compute
import Foundation
import Support
import Testing

@testable import Models

/// A model of any of the architectures, by its numbers.
struct TinyModel: CustomTestStringConvertible, Sendable {
    enum Family: String, Sendable { case mixtral, olmoe, qwen2, qwen3, deepSeekV2, deepSeekV3 }

    var family: Family
    var name: String
    var vocabulary = 37
    var hidden = 27
    var layers = 3
    var heads = 3
    var kvHeads = 1
    var headDimension = 10
    var experts = 5
    var topK = 2
    var expertSize = 11
    var denseSize = 19
    /// Width of the shared expert, or how many there are (DeepSeek).
    var shared = 0
    var sparse: Set<Int> = [0, 1, 2]
    var renormalizes = false
    var hasBias = false
    var limit: Double?
    var groups = 1
    var keptGroups = 1
    var method = "greedy"
    var scale = 1.0
    var queryRank: Int?
    var rank = 21
    var nope = 9
    var rotary = 6
    var value = 7
    var interleaved = true
    var yarn: (factor: Double, original: Int, mscale: Double, mscaleAll: Double)?
    /// By what all angles are divided.
    var linear: Double?
    var ropeBase = 10000.0
    var epsilon = 1e-5
    var ties = false
    /// 8-bit blocks `[rows, columns]`; nil for plain weights.
    var scaleBlocks: [Int]?
    /// Keys of config.json that only this model has.
    var keys: [String: String] = [:]

    var testDescription: String { name }
    var isLatent: Bool { family == .deepSeekV2 || family == .deepSeekV3 }
    var queryWidth: Int { isLatent ? nope + rotary : headDimension }
    var sharedSize: Int { isLatent ? shared * expertSize : shared }

    /// config.json.
    var json: String {
        var keys = [
            "vocab_size": "\(vocabulary)", "hidden_size": "\(hidden)", "num_hidden_layers": "\(layers)",
            "num_attention_heads": "\(heads)", "num_experts_per_tok": "\(topK)", "max_position_embeddings": "256",
            "rms_norm_eps": "\(epsilon)", "rope_theta": "\(ropeBase)", "tie_word_embeddings": "\(ties)",
        ].merging(keys) { $1 }
        let architectures: [Family: String] = [
            .mixtral: "MixtralForCausalLM", .olmoe: "OlmoeForCausalLM", .qwen2: "Qwen2MoeForCausalLM",
            .qwen3: "Qwen3MoeForCausalLM", .deepSeekV2: "DeepseekV2ForCausalLM", .deepSeekV3: "DeepseekV3ForCausalLM",
        ]
        keys["architectures"] = "[\"\(architectures[family] ?? "")\"]"
        keys["intermediate_size"] = "\(denseSize)"
        switch family {
        case .mixtral, .olmoe:
            keys["intermediate_size"] = "\(expertSize)"
            keys[family == .mixtral ? "num_local_experts" : "num_experts"] = "\(experts)"
        case .qwen2, .qwen3:
            keys["num_experts"] = "\(experts)"
            keys["moe_intermediate_size"] = "\(expertSize)"
        case .deepSeekV2, .deepSeekV3:
            keys["n_routed_experts"] = "\(experts)"
            keys["moe_intermediate_size"] = "\(expertSize)"
            keys["n_shared_experts"] = shared == 0 ? "null" : "\(shared)"
            keys["q_lora_rank"] = queryRank.map { "\($0)" } ?? "null"
            keys["kv_lora_rank"] = "\(rank)"
            keys["qk_nope_head_dim"] = "\(nope)"
            keys["qk_rope_head_dim"] = "\(rotary)"
            keys["v_head_dim"] = "\(value)"
            keys["n_group"] = "\(groups)"
            keys["topk_group"] = "\(keptGroups)"
            keys["topk_method"] = "\"\(method)\""
            keys["routed_scaling_factor"] = "\(scale)"
            keys["rope_interleave"] = "\(interleaved)"
        }
        if family == .qwen2 { keys["shared_expert_intermediate_size"] = "\(shared)" }
        if family != .mixtral { keys["norm_topk_prob"] = "\(renormalizes)" }
        if !isLatent {
            keys["num_key_value_heads"] = "\(kvHeads)"
            if headDimension != hidden / heads { keys["head_dim"] = "\(headDimension)" }
        }
        if family != .qwen2, hasBias { keys["attention_bias"] = "true" }
        if let limit { keys["clip_qkv"] = "\(limit)" }
        if let linear { keys["rope_scaling"] = #"{"type": "linear", "factor": \#(linear)}"# }
        if let yarn {
            keys["rope_scaling"] = """
                {"type": "yarn", "factor": \(yarn.factor), "original_max_position_embeddings": \(yarn.original), \
                "mscale": \(yarn.mscale), "mscale_all_dim": \(yarn.mscaleAll), "beta_fast": 32, "beta_slow": 1}
                """
        }
        if let blocks = scaleBlocks {
            keys["quantization_config"] = #"{"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": \#(blocks)}"#
        }
        return "{" + keys.map { "\"\($0.key)\": \($0.value)" }.sorted().joined(separator: ", ") + "}"
    }

    /// Names and shapes of the weights.
    var shapes: [(name: String, shape: [Int])] {
        var shapes = [("model.embed_tokens.weight", [vocabulary, hidden]), ("model.norm.weight", [hidden])]
        if !ties { shapes.append(("lm_head.weight", [vocabulary, hidden])) }
        for layer in 0..<layers {
            let prefix = "model.layers.\(layer)"
            func add(_ part: String, _ shape: [Int]) { shapes.append(("\(prefix).\(part)", shape)) }
            func addMLP(_ part: String, _ inner: Int, _ names: [String] = ["gate_proj", "up_proj", "down_proj"]) {
                add("\(part).\(names[0]).weight", [inner, hidden])
                add("\(part).\(names[1]).weight", [inner, hidden])
                add("\(part).\(names[2]).weight", [hidden, inner])
            }
            add("input_layernorm.weight", [hidden])
            add("post_attention_layernorm.weight", [hidden])
            if isLatent {
                if let queryRank {
                    add("self_attn.q_a_proj.weight", [queryRank, hidden])
                    if hasBias { add("self_attn.q_a_proj.bias", [queryRank]) }
                    add("self_attn.q_a_layernorm.weight", [queryRank])
                    add("self_attn.q_b_proj.weight", [heads * queryWidth, queryRank])
                } else {
                    add("self_attn.q_proj.weight", [heads * queryWidth, hidden])
                }
                add("self_attn.kv_a_proj_with_mqa.weight", [rank + rotary, hidden])
                if hasBias { add("self_attn.kv_a_proj_with_mqa.bias", [rank + rotary]) }
                add("self_attn.kv_a_layernorm.weight", [rank])
                add("self_attn.kv_b_proj.weight", [heads * (nope + value), rank])
            } else {
                for (part, count) in [("q", heads), ("k", kvHeads), ("v", kvHeads)] {
                    add("self_attn.\(part)_proj.weight", [count * headDimension, hidden])
                    if hasBias { add("self_attn.\(part)_proj.bias", [count * headDimension]) }
                    guard part != "v", family == .qwen3 || family == .olmoe else { continue }
                    add("self_attn.\(part)_norm.weight", [family == .qwen3 ? headDimension : count * headDimension])
                }
            }
            add("self_attn.o_proj.weight", [hidden, heads * (isLatent ? value : headDimension)])
            if hasBias, family != .qwen2 { add("self_attn.o_proj.bias", [hidden]) }
            guard sparse.contains(layer) else {
                addMLP("mlp", denseSize)
                continue
            }
            let mlp = family == .mixtral ? "block_sparse_moe" : "mlp"
            add("\(mlp).gate.weight", [experts, hidden])
            if method == "noaux_tc" { add("\(mlp).gate.e_score_correction_bias", [experts]) }
            for expert in 0..<experts {
                addMLP(
                    "\(mlp).experts.\(expert)", expertSize,
                    family == .mixtral ? ["w1", "w3", "w2"] : ["gate_proj", "up_proj", "down_proj"])
            }
            guard sharedSize > 0 else { continue }
            addMLP(isLatent ? "mlp.shared_experts" : "mlp.shared_expert", sharedSize)
            if family == .qwen2 { add("mlp.shared_expert_gate.weight", [1, hidden]) }
        }
        return shapes
    }

    /// The model's files, and its weights as numbers.
    func make(seed: UInt64) throws -> (files: TemporaryFolder, weights: [String: [Double]]) {
        var generator = SeededGenerator(seed: seed)
        var writer = SafetensorsWriter()
        var weights: [String: [Double]] = [:]
        func isQuantized(_ name: String, _ shape: [Int]) -> Bool {
            scaleBlocks != nil && shape.count == 2 && name.contains("_proj")
        }
        for (name, shape) in shapes {
            func random() -> Double { Double.random(in: -1...1, using: &generator) }
            let count = shape.reduce(1, *)
            let size = name.contains("embed") ? 1 : 1.7 / Double(shape.last ?? 1).squareRoot()
            if isQuantized(name, shape), let blocks = scaleBlocks {
                let codes = (0..<count).map { _ -> UInt8 in
                    let code = UInt8.random(in: 0...255, using: &generator)
                    return code & 0x7F == 0x7F ? 0 : code
                }
                let scaleShape = [(shape[0] + blocks[0] - 1) / blocks[0], (shape[1] + blocks[1] - 1) / blocks[1]]
                let scales = (0..<scaleShape.reduce(1, *)).map { _ in
                    Float(Double.random(in: 0.5...1, using: &generator) * size / 150)
                }
                writer.add(name, dtype: "F8_E4M3", shape: shape, bytes: codes)
                writer.add(
                    name + "_scale_inv", dtype: "F32", shape: scaleShape, bytes: SafetensorsWriter.float32(scales))
                weights[name] = (0..<count).map { index in
                    let (row, column) = (index / shape[1], index % shape[1])
                    let scale = scales[row / blocks[0] * scaleShape[1] + column / blocks[1]]
                    return e4m3(codes[index]) * Double(scale)
                }
                continue
            }
            let values = (0..<count).map { _ -> Float in
                let value = random()
                if name.contains("norm") { return Float(1 + 0.3 * value) }
                return Float(name.contains("bias") ? 0.3 * value : size * value)
            }
            // Each kind of plain weight occurs: by turns, so that stacks mix them.
            let isNarrow = name.utf8.reduce(0) { $0 &+ Int($1) }.isMultiple(of: 2)
            let stored = isNarrow ? values.map { Float(bitPattern: $0.bitPattern & 0xFFFF_0000) } : values
            writer.add(
                name, dtype: isNarrow ? "BF16" : "F32", shape: shape,
                bytes: isNarrow ? SafetensorsWriter.bfloat16(stored) : SafetensorsWriter.float32(stored))
            weights[name] = stored.map(Double.init)
        }
        // A layer that predicts further tokens, of which nobody knows anything.
        writer.add("model.layers.\(layers).eh_proj.weight", dtype: "BF16", shape: [1], bytes: [0, 0])
        let folder = try TemporaryFolder()
        try folder.write(json.utf8, to: "config.json")
        try folder.write(writer.file(), to: "model.safetensors")
        return (folder, weights)
    }
}

/// An 8-bit float of the form 1.4.3, after its definition.
func e4m3(_ code: UInt8) -> Double {
    let (exponent, fraction) = (Int(code >> 3 & 15), Double(code & 7))
    let size = exponent == 0 ? fraction / 8 * 0x1p-6 : (1 + fraction / 8) * pow(2, Double(exponent - 7))
    return code & 0x80 == 0 ? size : -size
}
