import Compute
import Experts
import Foundation
import Support
import Testing

@testable import Models

/// The keys that a Qwen2-MoE must have, as JSON.
private let required = [
    "architectures": #"["Qwen2MoeForCausalLM"]"#, "vocab_size": "320", "hidden_size": "64",
    "num_hidden_layers": "3", "num_attention_heads": "4", "max_position_embeddings": "256",
    "num_experts": "8", "num_experts_per_tok": "4", "moe_intermediate_size": "32",
]

/// What a config.json becomes: `changes` replace keys, an empty text removes one.
private func configuration(_ changes: [String: String], generation: String? = nil) throws -> ModelConfiguration {
    let keys = required.merging(changes) { $1 }.filter { !$0.value.isEmpty }
    let text = "{" + keys.map { "\"\($0)\": \($1)" }.joined(separator: ", ") + "}"
    return try configuration(text: text, generation: generation)
}

private func configuration(text: String, generation: String? = nil) throws -> ModelConfiguration {
    let folder = try TemporaryFolder()
    try folder.write(text.utf8, to: "config.json")
    if let generation { try folder.write(generation.utf8, to: "generation_config.json") }
    do {
        return try ModelConfiguration(ModelFiles(directory: folder.path))
    } catch var error as ModelFileError {
        // The folder's name differs from test to test.
        error.file = error.file.replacing(folder.path + "/", with: "")
        throw error
    }
}

/// A change to config.json and what it leads to.
struct BadKey: CustomTestStringConvertible, Sendable {
    var key: String
    var value: String
    var found: String
    var expected: String
    var item: String?
    var testDescription: String { "\(key): \(value.isEmpty ? "nothing" : value)" }

    init(_ key: String, _ value: String, found: String, expected: String, item: String? = nil) {
        (self.key, self.value, self.found, self.expected, self.item) = (key, value, found, expected, item)
    }
}

@Suite struct ModelConfigurationTests {
    @Test("keys that are missing have Qwen2-MoE's defaults") func defaults() throws {
        let model = try configuration([:])
        #expect(model.architecture == "Qwen2MoeForCausalLM" && model.modelType == "")
        #expect(model.vocabularySize == 320 && model.hiddenSize == 64 && model.layers == 3)
        #expect(model.heads == 4 && model.kvHeads == 4 && model.headDimension == 16)
        #expect(model.experts == 8 && model.topK == 4 && model.expertSize == 32)
        #expect(model.sharedExpertSize == 0 && model.intermediateSize == 0)
        #expect(model.sparseLayers == [0, 1, 2])
        #expect(!model.gate.renormalize && !model.tiesEmbeddings && model.hasAttentionBias)
        #expect(model.normEpsilon == 1e-6 && model.ropeBase == 10000 && model.maxPositions == 256)
        #expect(model.endOfSequenceIDs == [])
    }

    @Test("keys that are there are read") func values() throws {
        let model = try configuration([
            "model_type": #""qwen2_moe""#, "num_key_value_heads": "2", "head_dim": "20", "num_experts": "6.0",
            "intermediate_size": "96", "shared_expert_intermediate_size": "48", "norm_topk_prob": "true",
            "tie_word_embeddings": "true", "qkv_bias": "false", "rms_norm_eps": "1e-5", "rope_theta": "1e6",
            "hidden_act": #""silu""#, "use_sliding_window": "false", "rope_scaling": "null", "unknown": "[{}]",
        ])
        #expect(model.modelType == "qwen2_moe" && model.kvHeads == 2 && model.headDimension == 20)
        #expect(model.experts == 6 && model.intermediateSize == 96 && model.sharedExpertSize == 48)
        #expect(model.gate.renormalize && model.tiesEmbeddings && !model.hasAttentionBias)
        #expect(model.normEpsilon == 1e-5 && model.ropeBase == 1e6)
    }

    @Test("linear scaling is read under both keys, and where only a factor is given")
    func linear() throws {
        for value in [
            #"{"type": "linear", "factor": 4}"#, #"{"rope_type": "linear", "factor": 4.0}"#, #"{"factor": 4}"#,
        ] {
            for key in ["rope_scaling", "rope_parameters"] {
                let model = try configuration([key: value])
                #expect(model.rotaryScaling == .linear(4) && model.maxPositions == 256 && model.scoreFactor == 1)
            }
        }
    }

    @Test("dynamic scaling leaves angles plain up to the model's length, and ends there")
    func dynamic() throws {
        let dynamic = #"{"type": "dynamic", "factor": 4.0}"#
        let model = try configuration(["rope_scaling": dynamic])
        #expect(model.rotaryScaling == nil && model.maxPositions == 256 && model.isScaledDynamically)
        try model.check(contextLength: 256, file: "config.json")
        #expect(
            throws: ModelFileError(
                file: "config.json", item: "rope_scaling",
                found: "dynamic, which is not supported beyond 256 positions",
                expected: "a --context-length of at most 256, not 257")
        ) { try model.check(contextLength: 257, file: "config.json") }
        #expect(
            throws: ModelFileError(
                file: "config.json", item: "max_position_embeddings", found: "256",
                expected: "at least the 257 of --context-length")
        ) { try configuration([:]).check(contextLength: 257, file: "config.json") }
        let original = #"{"type": "dynamic", "factor": 4.0, "original_max_position_embeddings": 64}"#
        #expect(try configuration(["rope_scaling": original]).maxPositions == 64)
    }

    @Test("one reading finds every bad key, once, and knows the shapes if those are good")
    func everything() throws {
        func read(_ changes: [String: String]) throws -> (ModelConfiguration?, [String?]) {
            let folder = try TemporaryFolder()
            let keys = required.merging(changes) { $1 }.filter { !$0.value.isEmpty }
            let text = "{" + keys.map { "\"\($0)\": \($1)" }.joined(separator: ", ") + "}"
            try folder.write(text.utf8, to: "config.json")
            let (model, problems) = ModelConfiguration.read(try ModelFiles(directory: folder.path))
            return (model, problems.map(\.item))
        }
        let (usable, behaviour) = try read([
            "num_experts_per_tok": "9", "hidden_act": "\"gelu\"", "rms_norm_eps": "\"x\"", "rope_theta": "0.5",
            "rope_scaling": #"{"type": "longrope"}"#, "eos_token_id": "{}", "max_position_embeddings": "",
        ])
        #expect(
            Set(behaviour) == [
                "num_experts_per_tok", "hidden_act", "rms_norm_eps", "rope_theta", "rope_scaling", "eos_token_id",
                "max_position_embeddings",
            ])
        #expect(behaviour.count == 7 && usable?.hiddenSize == 64 && usable?.experts == 8)
        let (unusable, all) = try read([
            "hidden_size": "\"x\"", "num_attention_heads": "0", "num_key_value_heads": "[]", "num_experts": "-1",
            "moe_intermediate_size": "1e30", "tie_word_embeddings": "3", "mlp_only_layers": "[null, 1, \"x\"]",
            "vocab_size": "", "dtype": "7", "norm_topk_prob": "[]", "intermediate_size": "5",
        ])
        #expect(
            Set(all) == [
                "hidden_size", "num_attention_heads", "num_key_value_heads", "num_experts", "moe_intermediate_size",
                "tie_word_embeddings", "mlp_only_layers[0]", "mlp_only_layers[2]", "vocab_size", "dtype",
                "norm_topk_prob",
            ])
        #expect(all.count == 11 && unusable == nil)
        let (unknown, more) = try read(["architectures": "[\"Nobody\"]", "vocab_size": "0", "rope_theta": "{}"])
        #expect(more == ["vocab_size", "rope_theta", "architectures"] && unknown == nil)
    }

    @Test("a rotary base may lie in rope_parameters, of the default kind") func ropeParameters() throws {
        let model = try configuration(["rope_parameters": #"{"rope_type": "default", "rope_theta": 5e5}"#])
        #expect(model.ropeBase == 5e5)
    }

    /// What DeepSeek's configurations have in common, with YaRN of the given weights.
    private func deepSeek(_ version: Int, mscale: Double, _ changes: [String: String] = [:]) throws
        -> ModelConfiguration
    {
        let yarn = """
            {"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096, "beta_fast": 32, "beta_slow": 1, \
            "mscale": \(mscale), "mscale_all_dim": \(mscale)}
            """
        return try configuration(
            [
                "architectures": "[\"DeepseekV\(version)ForCausalLM\"]", "num_experts": "", "n_routed_experts": "64",
                "num_experts_per_tok": "6", "n_shared_experts": "2", "moe_intermediate_size": "1408",
                "intermediate_size": "10944", "first_k_dense_replace": "1", "num_attention_heads": "16",
                "kv_lora_rank": "512", "q_lora_rank": "null", "qk_nope_head_dim": "128", "qk_rope_head_dim": "64",
                "v_head_dim": "128", "max_position_embeddings": "163840", "rope_scaling": yarn, "hidden_size": "2050",
            ].merging(changes) { $1 })
    }

    @Test("DeepSeek-V2-Lite's numbers are those of its authors") func lite() throws {
        let model = try deepSeek(2, mscale: 0.707, ["routed_scaling_factor": "1.0", "topk_method": "\"greedy\""])
        #expect(
            model.latent
                == LatentShape(queryRank: nil, rank: 512, nope: 128, rotary: 64, value: 128, isInterleaved: true))
        #expect(model.sparseLayers == [1, 2] && model.sharedExpertSize == 2816 && model.headDimension == 192)
        #expect(model.cacheShape(.float32).bytesPerToken == 2304)
        guard case .yarn(let yarn)? = model.rotaryScaling else {
            Issue.record("no YaRN")
            return
        }
        #expect(yarn.angleFactor == 1)
        #expect(abs(Double(model.scoreFactor) / 192.0.squareRoot() - 0.114721387) < 5e-8)
        #expect(model.gate == .softmax(renormalize: false) && !model.hasCorrectionBias)
    }

    @Test("DeepSeek-V3's numbers are those of its authors") func version3() throws {
        let model = try deepSeek(
            3, mscale: 1,
            [
                "n_group": "8", "topk_group": "4", "routed_scaling_factor": "2.5", "norm_topk_prob": "true",
                "q_lora_rank": "1536", "scoring_func": "\"sigmoid\"", "topk_method": "\"noaux_tc\"",
                "quantization_config": """
                {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8", "weight_block_size": [128, 64]}
                """,
            ])
        #expect(model.latent?.queryRank == 1536)
        #expect(abs(Double(model.scoreFactor) / 192.0.squareRoot() - 0.135233779) < 5e-8)
        let groups = GateRule.Groups(count: 8, kept: 4)
        #expect(model.gate == GateRule(scoring: .sigmoid, renormalize: true, groups: groups, scale: 2.5))
        #expect(model.hasCorrectionBias && model.scaleBlocks == ScaleBlocks(rows: 128, columns: 64))
        // What a file leaves out is V3's all the same.
        let bare = try deepSeek(3, mscale: 1)
        #expect(bare.gate.scoring == .sigmoid && bare.gate.renormalize && bare.hasCorrectionBias)
    }

    static let badDeepSeekKeys: [BadKey] = [
        BadKey("kv_lora_rank", "null", found: "nothing", expected: "a whole number from 1 to 131072"),
        BadKey("qk_rope_head_dim", "7", found: "7", expected: "an even number"),
        BadKey("n_group", "7", found: "7", expected: "a divisor of the 64 experts"),
        BadKey("n_group", "0", found: "0", expected: "a whole number from 1 to 64"),
        BadKey("topk_group", "9", found: "9", expected: "a whole number from 1 to 8"),
        BadKey(
            "topk_method", "\"random\"", found: "random", expected: "greedy, group_limited_greedy or noaux_tc"),
        BadKey("scoring_func", "\"tanh\"", found: "tanh", expected: "softmax or sigmoid"),
        BadKey("routed_scaling_factor", "-1", found: "-1.0", expected: "a number from 0 to 1e6"),
        BadKey(
            "quantization_config", #"{"quant_method": "gptq"}"#, found: "gptq ",
            expected: "fp8 e4m3 with scales per block"),
        BadKey(
            "quantization_config", #"{"quant_method": "fp8", "weight_block_size": [128]}"#, found: "[128.0]",
            expected: "[rows, columns]", item: "quantization_config.weight_block_size"),
        BadKey(
            "rope_scaling", #"{"type": "yarn", "factor": 0}"#, found: "0.0", expected: "a number from 1e-6 to 1e6",
            item: "rope_scaling.factor"),
    ]

    @Test("a bad value of DeepSeek's keys is refused with its key", arguments: badDeepSeekKeys)
    func badDeepSeek(bad: BadKey) {
        #expect(
            throws: ModelFileError(
                file: "config.json", item: bad.item ?? bad.key, found: bad.found, expected: bad.expected)
        ) {
            try deepSeek(3, mscale: 1, ["n_group": "8"].merging([bad.key: bad.value]) { $1 })
        }
    }

    @Test("Mixtral and OLMoE call an expert's width intermediate_size", arguments: ["Mixtral", "Olmoe"])
    func intermediate(name: String) throws {
        let model = try configuration([
            "architectures": "[\"\(name)ForCausalLM\"]", "moe_intermediate_size": "", "intermediate_size": "80",
        ])
        #expect(model.expertSize == 80 && model.normEpsilon == 1e-5 && !model.hasAttentionBias)
        #expect(model.gate.renormalize == (name == "Mixtral"))
    }

    @Test("a window that hides something is refused, where it counts") func window() throws {
        func sized(_ architecture: String, _ window: String) throws -> ModelConfiguration {
            try configuration([
                "architectures": "[\"\(architecture)\"]", "intermediate_size": "80", "sliding_window": window,
            ])
        }
        #expect(try sized("MixtralForCausalLM", "null").maxPositions == 256)
        #expect(try sized("MixtralForCausalLM", "256").maxPositions == 256)
        #expect(try sized("Qwen3MoeForCausalLM", "16").maxPositions == 256)
        #expect(throws: ModelFileError.self) { try sized("MixtralForCausalLM", "255") }
    }

    @Test("a dense model has no experts, and needs an intermediate size") func dense() throws {
        let model = try configuration([
            "num_experts": "", "num_experts_per_tok": "", "moe_intermediate_size": "", "intermediate_size": "96",
        ])
        #expect(model.experts == 0 && model.topK == 0 && model.expertSize == 0 && model.sparseLayers == [])
    }

    @Test(
        "every decoder_sparse_step-th layer routes, but for mlp_only_layers",
        arguments: [
            ("1", "[]", [0, 1, 2, 3, 4, 5]), ("2", "[]", [1, 3, 5]), ("2", "[3]", [1, 5]), ("7", "[]", []),
            ("1", "[0, 5, 5, 99, -1, 1.5]", [1, 2, 3, 4]), ("4", "null", [3]),
        ])
    func sparse(step: String, denseLayers: String, expected: [Int]) throws {
        let model = try configuration([
            "num_hidden_layers": "6", "decoder_sparse_step": step, "mlp_only_layers": denseLayers,
            "intermediate_size": "96",
        ])
        #expect(model.sparseLayers == expected)
    }

    @Test(
        "end-of-sequence ids of both files are merged; ids that no token has are left out",
        arguments: [
            ("319", nil, [319]), ("[319, 317]", nil, [319, 317]), ("null", nil, []), ("", "{}", []),
            ("319", #"{"eos_token_id": [317, 319]}"#, [319, 317]), ("", #"{"eos_token_id": 5}"#, [5]),
            ("[7, 7]", #"{"eos_token_id": 7}"#, [7]), ("320", nil, []), ("-1", nil, []),
            ("[0, 1e30, 2.5, 3000000000, -3000000000, 319]", nil, [0, 319]),
        ] as [(String, String?, [Int32])])
    func ends(config: String, generation: String?, expected: [Int32]) throws {
        #expect(try configuration(["eos_token_id": config], generation: generation).endOfSequenceIDs == expected)
    }

    static let badKeys: [BadKey] = {
        func range(_ key: String, _ value: String, _ range: ClosedRange<Int>, found: String? = nil) -> BadKey {
            let expected = "a whole number from \(range.lowerBound) to \(range.upperBound)"
            return BadKey(key, value, found: found ?? (value.isEmpty ? "nothing" : value), expected: expected)
        }
        let most = 1 << 24
        let scaling = "linear, dynamic, yarn or none: no other scaling is supported"
        return [
            BadKey("architectures", "", found: "nothing", expected: "a list with the architecture's name"),
            BadKey("architectures", "[]", found: "nothing", expected: "a list with the architecture's name"),
            BadKey("architectures", "\"x\"", found: "a value of another type", expected: "a list"),
            BadKey(
                "architectures", "[7]", found: "a value of another type", expected: "a string",
                item: "architectures[0]"),
            range("vocab_size", "", 1...most), range("vocab_size", "0", 1...most), range("vocab_size", "-5", 1...most),
            range("vocab_size", "1e30", 1...most, found: "1e+30"), range("vocab_size", "320.5", 1...most),
            range("vocab_size", "9223372036854775807", 1...most, found: "9.223372036854776e+18"),
            BadKey("vocab_size", "\"320\"", found: "a value of another type", expected: "a number"),
            BadKey("vocab_size", "[320]", found: "a value of another type", expected: "a number"),
            range("hidden_size", "", 1...1 << 17), range("hidden_size", "99999999", 1...1 << 17),
            range("num_hidden_layers", "", 1...1024), range("num_hidden_layers", "1025", 1...1024),
            range("num_attention_heads", "", 1...4096), range("num_attention_heads", "0", 1...4096),
            range("num_key_value_heads", "0", 1...4096),
            BadKey(
                "num_key_value_heads", "3", found: "3", expected: "a divisor of num_attention_heads, 4"),
            BadKey(
                "hidden_size", "66", found: "66", expected: "a multiple of num_attention_heads, 4, or a head_dim"),
            range("head_dim", "0", 2...4096), range("head_dim", "5000", 2...4096),
            BadKey("head_dim", "7", found: "7", expected: "an even number"),
            range("num_experts", "-1", 0...8192), range("num_experts", "1000000", 0...8192),
            range("num_experts_per_tok", "", 1...8), range("num_experts_per_tok", "9", 1...8),
            range("num_experts_per_tok", "0", 1...8),
            range("moe_intermediate_size", "", 1...1 << 20), range("moe_intermediate_size", "-1", 1...1 << 20),
            range("shared_expert_intermediate_size", "1e12", 0...1 << 20, found: "1000000000000"),
            range("intermediate_size", "-1", 0...1 << 20),
            range("intermediate_size", "1e18", 0...1 << 20, found: "1000000000000000000"),
            range("decoder_sparse_step", "0", 1...1 << 20),
            range("max_position_embeddings", "", 1...most),
            range("max_position_embeddings", "1e9", 1...most, found: "1000000000"),
            BadKey("rms_norm_eps", "-1", found: "-1.0", expected: "a number from 0 to 1"),
            BadKey("rms_norm_eps", "1e300", found: "1e+300", expected: "a number from 0 to 1"),
            BadKey("rope_theta", "0.5", found: "0.5", expected: "a number from 1 to 1e30"),
            BadKey("rope_theta", "1e300", found: "1e+300", expected: "a number from 1 to 1e30"),
            BadKey("hidden_act", "\"gelu\"", found: "gelu", expected: "silu"),
            BadKey(
                "use_sliding_window", "true", found: "true", expected: "false: sliding windows are not supported"),
            BadKey("use_sliding_window", "1", found: "a value of another type", expected: "true or false"),
            BadKey("rope_scaling", #"{"rope_type": "longrope"}"#, found: "longrope", expected: scaling),
            BadKey(
                "rope_scaling", #"{"rope_type": "linear"}"#, found: "nothing", expected: "a number",
                item: "rope_scaling.factor"),
            BadKey(
                "rope_scaling", #"{"type": "dynamic", "factor": 0}"#, found: "0.0",
                expected: "a number from 1e-6 to 1e6", item: "rope_scaling.factor"),
            BadKey(
                "rope_scaling", #"{"type": 7, "factor": 2}"#, found: "a value of another type", expected: "a string",
                item: "rope_scaling.type"),
            BadKey("rope_scaling", "4", found: "a value of another type", expected: "an object"),
            BadKey("rope_parameters", #"{"rope_type": "llama3"}"#, found: "llama3", expected: scaling),
            BadKey("mlp_only_layers", "[null]", found: "null", expected: "a number", item: "mlp_only_layers[0]"),
            BadKey("eos_token_id", "\"x\"", found: "a value of another type", expected: "a token id or a list of them"),
            BadKey("norm_topk_prob", "\"yes\"", found: "a value of another type", expected: "true or false"),
        ]
    }()

    @Test("a bad value is refused with its key, what is there and what should be", arguments: badKeys)
    func bad(bad: BadKey) {
        #expect(
            throws: ModelFileError(
                file: "config.json", item: bad.item ?? bad.key, found: bad.found, expected: bad.expected)
        ) { try configuration([bad.key: bad.value]) }
    }

    @Test("a dense layer without intermediate_size is refused") func noIntermediateSize() {
        #expect(
            throws: ModelFileError(
                file: "config.json", item: "intermediate_size", found: "nothing",
                expected: "a whole number from 1 to 1048576")
        ) { try configuration(["mlp_only_layers": "[1]"]) }
    }

    @Test("what is no JSON is refused as that", arguments: ["", "{", "model", "\u{0}", "{\"a\": 1} x"])
    func notJSON(text: String) {
        let found = "invalid JSON, or a number out of range"
        #expect(throws: ModelFileError(file: "config.json", found: found, expected: "a JSON object")) {
            try configuration(text: text)
        }
        #expect(throws: ModelFileError(file: "generation_config.json", found: found, expected: "a JSON object")) {
            try configuration([:], generation: text)
        }
    }

    @Test("JSON that is no object is refused as that", arguments: ["[]", "7", "\"config\""])
    func noObject(text: String) {
        let expected = ModelFileError(
            file: "config.json", found: "a value of another type", expected: "a JSON object")
        #expect(throws: expected) { try configuration(text: text) }
    }

    @Test("a folder without config.json, a file and a missing folder are told apart") func noFiles() throws {
        let folder = try TemporaryFolder()
        let empty = try ModelFiles(directory: folder.path)
        #expect(
            throws: ModelFileError(
                file: folder.path + "/config.json", found: "no such file", expected: "a Hugging Face config.json")
        ) { try ModelConfiguration(empty) }
        try folder.write([], to: "file")
        let file = FileError(
            path: folder.path(of: "file"), reason: "not a folder; --model-path takes the folder that holds config.json")
        #expect(throws: file) { try ModelFiles(directory: file.path) }
        let missing = FileError(
            path: folder.path(of: "missing"),
            reason: "no such folder; --model-path takes a Hugging Face model folder")
        #expect(throws: missing) { try ModelFiles(directory: missing.path) }
        try FileManager.default.createDirectory(
            at: folder.url.appending(path: "config.json"), withIntermediateDirectories: false)
        #expect(
            throws: ModelFileError(
                file: folder.path + "/config.json", found: "not a regular file", expected: "a readable file")
        ) { try ModelConfiguration(empty) }
    }

    @Test(
        "a thousand damaged configurations of each kind give numbers or a one-line error",
        arguments: ["qwen2-moe-tiny", "deepseek-v3-tiny", "mixtral-tiny"])
    func mutations(model: String) throws {
        let valid = try Golden.data("models/\(model)/config.json")
        var generator = SeededGenerator(seed: 71)
        let interesting = Array("{}[]\",:-+.0123456789eE null".utf8) + [0, 0xFF]
        for round in 0..<1000 {
            var bytes = Array(valid)
            for _ in 0...Int.random(in: 0..<3, using: &generator) {
                let place = Int.random(in: 0..<bytes.count, using: &generator)
                switch Int.random(in: 0..<3, using: &generator) {
                case 0: bytes[place] = interesting.randomElement(using: &generator) ?? 0
                case 1: bytes.insert(interesting.randomElement(using: &generator) ?? 0, at: place)
                default: bytes.remove(at: place)
                }
            }
            bytes.withUnsafeBytes { raw in
                let files = ["config.json": MappedBytes(permanent: raw, name: "model/config.json")]
                do throws(ModelFileError) {
                    let model = try ModelConfiguration(ModelFiles(embedded: "model", files: files))
                    #expect(model.heads.isMultiple(of: model.kvHeads) && model.topK <= model.experts)
                } catch {
                    #expect(error.file == "model/config.json" && !error.description.contains("\n"), "round \(round)")
                }
            }
        }
    }
}
