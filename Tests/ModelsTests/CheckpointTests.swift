import Compute
import Foundation
import Support
import Testing

@testable import Models

/// A copy of a small model whose weights a test may change.
private struct ModelFolder {
    static let weights = "model.safetensors"
    static let index = "model.safetensors.index.json"
    let folder: TemporaryFolder
    /// The weights as they were, by name.
    let tensors: [Tensor]

    init() throws {
        folder = try TemporaryFolder(copying: Golden.url("models/qwen2-moe-tiny"))
        let original = Golden.url("models/qwen2-moe-tiny").appending(path: Self.weights).path(percentEncoded: false)
        tensors = try SafetensorsFile(MappedBytes(path: original)).tensors.values.sorted { $0.name < $1.name }
    }

    /// What a damaged tensor becomes.
    struct Replacement {
        var dtype: String
        var shape: [Int]
        var bytes: [UInt8]
    }

    /// Writes the weights into `file`, each as `change` says; nil leaves one out.
    func write(to file: String = weights, _ change: (Tensor) -> Replacement?) throws {
        var writer = SafetensorsWriter()
        for tensor in tensors {
            guard let new = change(tensor) else { continue }
            writer.add(tensor.name, dtype: new.dtype, shape: new.shape, bytes: new.bytes)
        }
        try folder.write(writer.file(), to: file)
    }

    static func unchanged(_ tensor: Tensor) -> Replacement {
        Replacement(dtype: tensor.dtype.rawValue, shape: tensor.shape, bytes: tensor.withBytes { Array($0) })
    }

    /// Splits the weights into shards by turns and writes the index; without `model.safetensors`.
    func split(into shards: [String]) throws {
        var map: [String: String] = [:]
        for (place, shard) in shards.enumerated() {
            let names = Set(tensors.enumerated().filter { $0.offset % shards.count == place }.map(\.element.name))
            for name in names { map[name] = shard }
            try write(to: shard) { names.contains($0.name) ? Self.unchanged($0) : nil }
        }
        try writeIndex(map)
        try folder.remove(Self.weights)
    }

    func writeIndex(_ map: [String: String]) throws {
        try folder.write(JSONEncoder().encode(["weight_map": map]), to: Self.index)
    }

    /// Logits at every position of a fixed prompt.
    func logits() throws -> [[Float]] {
        let runner = try TestRunner(ModelFiles(directory: folder.path))
        defer { runner.backend.stop() }
        return runner.logits([1, 45, 200, 3, 77, 310, 5], from: 0)
    }

    func error(_ file: String, _ item: String?, found: String, expected: String) -> ModelFileError {
        ModelFileError(file: folder.path(of: file), item: item, found: found, expected: expected)
    }
}

@Suite struct CheckpointTests {
    private static let shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]

    @Test("weights in shards give the logits of weights in one file") func sharded() throws {
        let model = try ModelFolder()
        let expected = try model.logits()
        try model.split(into: Self.shards)
        #expect(try model.logits() == expected)
    }

    @Test("an F32 copy of the weights gives the same logits, an F16 copy close ones") func precisions() throws {
        let model = try ModelFolder()
        let expected = try model.logits()
        func widened(_ tensor: Tensor) -> [Float] {
            tensor.withBytes { bytes in
                (0..<tensor.count).map {
                    let bits = bytes.loadUnaligned(fromByteOffset: 2 * $0, as: UInt16.self)
                    return Float(bitPattern: UInt32(UInt16(littleEndian: bits)) << 16)
                }
            }
        }
        try #require(model.tensors.allSatisfy { $0.dtype == .bfloat16 })
        try model.write {
            ModelFolder.Replacement(dtype: "F32", shape: $0.shape, bytes: SafetensorsWriter.float32(widened($0)))
        }
        #expect(try model.logits() == expected)
        try model.write {
            ModelFolder.Replacement(dtype: "F16", shape: $0.shape, bytes: SafetensorsWriter.float16(widened($0)))
        }
        // Every bfloat16 above 6e-5 is a float16; smaller ones lose at most 3e-8.
        #expect(relativeDistance(try model.logits().flatMap { $0 }, expected.flatMap { $0.map(Double.init) }) < 1e-5)
    }

    @Test("a single file goes before an index") func singleFileFirst() throws {
        let model = try ModelFolder()
        try model.folder.write("no JSON".utf8, to: ModelFolder.index)
        #expect(try Checkpoint(ModelFiles(directory: model.folder.path)).tensors.count == model.tensors.count)
    }

    @Test("a shard that is not there is named, and what names it") func missingShard() throws {
        let model = try ModelFolder()
        try model.split(into: Self.shards)
        try model.folder.remove(Self.shards[1])
        let name = model.tensors[1].name
        let expected = model.error(
            Self.shards[1], nil, found: "no such file",
            expected: "the shard that \(ModelFolder.index) names for \(name)")
        #expect(throws: expected) { try model.logits() }
    }

    @Test("a tensor that is not in its shard is named") func missingInShard() throws {
        let model = try ModelFolder()
        try model.split(into: Self.shards)
        try model.writeIndex([
            "lm_head.weight": Self.shards[0], "model.norm.weight": Self.shards[0], "x": Self.shards[1],
        ])
        #expect(model.tensors[0].name == "lm_head.weight")
        let expected = model.error(
            Self.shards[1], "x", found: "no such tensor", expected: "the tensor that \(ModelFolder.index) says is here")
        #expect(throws: ModelFileError.self) { try model.logits() }
        try model.writeIndex(["lm_head.weight": Self.shards[0], "x": Self.shards[1]])
        #expect(throws: expected) { try model.logits() }
    }

    @Test("a tensor that no shard holds is missed by the model, which names the index") func missingInIndex() throws {
        let model = try ModelFolder()
        try model.split(into: Self.shards)
        try model.writeIndex(["lm_head.weight": Self.shards[0]])
        let expected = model.error(
            ModelFolder.index, "model.embed_tokens.weight", found: "no such tensor",
            expected: "a tensor of shape [320, 64]")
        #expect(throws: expected) { try model.logits() }
    }

    @Test(
        "a shard outside the folder is refused, there or not",
        arguments: [
            "../model.safetensors", "/etc/passwd", "sub/model.safetensors", "..", ".", "", "a\u{0}b",
            "..\u{2F}\u{301}x",
        ])
    func traversal(shard: String) throws {
        let model = try ModelFolder()
        try model.folder.remove(ModelFolder.weights)
        try model.writeIndex(["x": shard])
        let expected = model.error(
            ModelFolder.index, "x", found: "shard \(shard)", expected: "a file name in the same folder")
        #expect(throws: expected) { try Checkpoint(ModelFiles(directory: model.folder.path)) }
    }

    @Test(
        "an index that is no index is refused",
        arguments: [
            ("", nil, "invalid JSON, or a number out of range"), ("[]", nil, "a value of another type"),
            ("{}", nil, "no weight_map"), (#"{"weight_map": {"a": 7}}"#, "weight_map.a", "a value of another type"),
        ] as [(String, String?, String)])
    func badIndex(text: String, item: String?, found: String) throws {
        let model = try ModelFolder()
        try model.folder.remove(ModelFolder.weights)
        try model.folder.write(text.utf8, to: ModelFolder.index)
        let whole = "an object with weight_map: tensor -> file"
        let expected = model.error(ModelFolder.index, item, found: found, expected: item == nil ? whole : "a string")
        #expect(throws: expected) { try Checkpoint(ModelFiles(directory: model.folder.path)) }
    }

    @Test("a folder without weights is refused") func noWeights() throws {
        let model = try ModelFolder()
        try model.folder.remove(ModelFolder.weights)
        let expected = ModelFileError(
            file: model.folder.path, found: "neither \(ModelFolder.weights) nor \(ModelFolder.index)",
            expected: "safetensors weights")
        #expect(throws: expected) { try Checkpoint(ModelFiles(directory: model.folder.path)) }
    }

    static let kinds = [
        "lm_head.weight", "model.embed_tokens.weight", "model.norm.weight", "model.layers.1.input_layernorm.weight",
        "model.layers.1.self_attn.q_proj.weight", "model.layers.1.self_attn.k_proj.bias",
        "model.layers.2.self_attn.o_proj.weight", "model.layers.1.mlp.gate.weight",
        "model.layers.1.mlp.experts.5.up_proj.weight", "model.layers.0.mlp.experts.7.down_proj.weight",
        "model.layers.1.mlp.shared_expert.gate_proj.weight", "model.layers.1.mlp.shared_expert_gate.weight",
    ]

    @Test("a tensor that is missing, misshapen or no weight is named", arguments: kinds) func damaged(name: String)
        throws
    {
        let model = try ModelFolder()
        let shape = try #require(model.tensors.first { $0.name == name }?.shape)
        try model.write { $0.name == name ? nil : ModelFolder.unchanged($0) }
        let missing = model.error(
            ModelFolder.weights, name, found: "no such tensor", expected: "a tensor of shape \(shape)")
        #expect(throws: missing) { try model.logits() }

        // The same bytes under another shape, with one dimension too many, and none at all.
        let count = shape.reduce(1, *)
        for wrong in [[count / 2, 2], shape + [1], [0] + shape] where wrong != shape {
            try model.write {
                var new = ModelFolder.unchanged($0)
                guard $0.name == name else { return new }
                new.shape = wrong
                new.bytes = Array(new.bytes.prefix(wrong.reduce(2, *)))
                return new
            }
            let misshapen = model.error(
                ModelFolder.weights, name, found: "shape \(wrong)", expected: "shape \(shape)")
            #expect(throws: misshapen) { try model.logits() }
        }

        try model.write {
            var new = ModelFolder.unchanged($0)
            if $0.name == name { new.dtype = "I16" }
            return new
        }
        let integer = model.error(ModelFolder.weights, name, found: "dtype I16", expected: "BF16, F16 or F32")
        #expect(throws: integer) { try model.logits() }
    }

    @Test(
        "a configuration larger than its weights is refused by the first tensor",
        arguments: [
            ("hidden_size", "16384", "model.embed_tokens.weight", "[320, 16384]"),
            ("vocab_size", "16777216", "model.embed_tokens.weight", "[16777216, 64]"),
            ("num_experts", "8192", "model.layers.0.mlp.gate.weight", "[8192, 64]"),
            ("num_hidden_layers", "1024", "model.layers.3.self_attn.q_proj.weight", "[64, 64]"),
        ])
    func tooLarge(key: String, value: String, item: String, shape: String) throws {
        let model = try ModelFolder()
        let text = String(
            decoding: try Data(contentsOf: model.folder.url.appending(path: "config.json")), as: UTF8.self)
        let changed = text.replacing(try Regex("\"\(key)\": *[0-9]+"), with: "\"\(key)\": \(value)")
        try #require(changed != text)
        try model.folder.write(changed.utf8, to: "config.json")
        let files = try ModelFiles(directory: model.folder.path)
        let loader = WeightLoader(try Checkpoint(files), backend: try #require(CPUBackend(threads: 1)))
        let error = #expect(throws: ModelFileError.self) {
            try ModelRegistry.load(ModelConfiguration(files), weights: loader, positions: 16, file: files.path)
        }
        #expect(error?.item == item && error?.expected.contains(shape) == true, "\(String(describing: error))")
    }

    @Test("an architecture that nobody knows is refused with those that are known") func unknownArchitecture() throws {
        let model = try ModelFolder()
        let url = model.folder.url.appending(path: "config.json")
        let text = String(decoding: try Data(contentsOf: url), as: UTF8.self)
        try model.folder.write(text.replacing("Qwen2MoeForCausalLM", with: "GPT2LMHeadModel").utf8, to: "config.json")
        let expected = ModelFileError(
            file: model.folder.path(of: "config.json"), item: "architectures", found: "GPT2LMHeadModel",
            expected: "one of \(ModelRegistry.architectures.joined(separator: ", "))")
        #expect(throws: expected) { try model.logits() }
    }
}
