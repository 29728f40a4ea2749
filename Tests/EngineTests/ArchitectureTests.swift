// Every architecture through the engine: tokens in company, recorded routing, made-up weights, and what a check says.

import Compute
import Experts
import Foundation
import Models
import Support
import Testing

@testable import Engine

@Suite struct ArchitectureTests {
    static let models = [
        "deepseek-v2-tiny", "deepseek-v2-grouped-tiny", "deepseek-v3-tiny", "mixtral-tiny", "olmoe-tiny",
        "qwen2-moe-tiny", "qwen2-moe-tiny-sparse", "qwen3-moe-tiny",
    ]

    static func files(_ model: String) throws -> ModelFiles {
        try ModelFiles(directory: Support.Golden.url("models/\(model)").path(percentEncoded: false))
    }

    static func request(_ id: String, _ ids: [Int32], count: Int) -> GenerationRequest {
        EngineTests.greedy(id, ids, count: count)
    }

    @Test("requests that share batches and chunks give the reference's tokens", arguments: models)
    func storm(model: String) async throws {
        let golden = try GoldenTensors("models/\(model)/goldens.safetensors")
        var configuration = EngineConfiguration()
        configuration.maxRunningRequests = 4
        configuration.chunkedPrefillSize = 9
        configuration.maxTotalTokens = 1024
        let engine = try await Engine.load(try Self.files(model), configuration: configuration, threads: 2)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for prompt in 0..<12 {
                group.addTask {
                    let ids = try golden.int64("p\(prompt % 6).input_ids").map(Int32.init)
                    let expected = try golden.int64("p\(prompt % 6).greedy_ids").map(Int32.init)
                    let output = await collect(
                        try await engine.submit(Self.request("\(prompt)", ids, count: expected.count)))
                    #expect(output.ids == expected, "prompt \(prompt % 6)")
                }
            }
            try await group.waitForAll()
        }
        await engine.checkIntegrity()
        await engine.shutdown(deadline: .seconds(5))
    }

    @Test("what is recorded equals the reference's counts; dense layers have none", arguments: models)
    func recording(model: String) async throws {
        let golden = try GoldenTensors("models/\(model)/goldens.safetensors")
        let engine = try await Engine.load(try Self.files(model), threads: 1)
        let ids = try golden.int64("p2.input_ids").map(Int32.init)
        _ = await collect(try await engine.submit(Self.request("a", ids, count: 24)))
        let snapshot = try #require(await engine.recorded())
        let expected = zip(
            try golden.int32("p2.prefill_expert_counts"), try golden.int32("p2.decode_expert_counts")
        ).map { Int64($0 + $1) }
        #expect(snapshot.totals == expected)
        let sparse = engine.model.sparseLayers
        let experts = engine.model.experts
        for layer in 0..<snapshot.totals.count / experts {
            let row = snapshot.totals[layer * experts..<(layer + 1) * experts]
            #expect(sparse.contains(layer) == (row.reduce(0, +) > 0), "layer \(layer)")
        }
        await engine.shutdown(deadline: .seconds(5))
    }

    @Test("a config.json alone runs on made-up weights, the same for the same seed", arguments: models)
    func dummy(model: String) async throws {
        let folder = try TemporaryFolder()
        try folder.write(Data(contentsOf: Support.Golden.url("models/\(model)/config.json")), to: "config.json")
        func output(seed: UInt64) async throws -> [Int32] {
            var configuration = EngineConfiguration()
            configuration.loadFormat = .dummy
            configuration.randomSeed = seed
            let seen = Seen()
            let engine = try await Engine.load(
                ModelFiles(directory: folder.path), configuration: configuration, threads: 1,
                progress: { seen.append($0) })
            #expect(seen.all.last.map { $0.completedBytes == $0.totalBytes && $0.totalBytes > 0 } == true)
            let output = await collect(try await engine.submit(Self.request("a", [5, 6, 7], count: 12)))
            await engine.shutdown(deadline: .seconds(5))
            return output.ids
        }
        let first = try await output(seed: 1)
        #expect(first.count == 12)
        #expect(try await output(seed: 1) == first)
        #expect(try await output(seed: 2) != first)
    }

    @Test("a check says what loading finds, and what a token takes", arguments: models)
    func check(model: String) async throws {
        let files = try Self.files(model)
        let check = ModelCheck(files)
        #expect(check.problems.isEmpty && check.fits)
        let weights = try #require(check.weights)
        let engine = try await Engine.load(files, threads: 1)
        let parameters = engine.model.parameters
        await engine.shutdown(deadline: .zero)
        #expect(weights.parameters == parameters && weights.activeParameters < parameters)
        let configuration = try #require(check.configuration)
        let stored = try Checkpoint(files).tensors.values.reduce(0) { $0 + $1.byteCount }
        #expect(weights.storedBytes == stored)
        let idle = configuration.experts - configuration.topK
        let expert = 3 * configuration.hiddenSize * configuration.expertSize
        #expect(weights.parameters - weights.activeParameters == configuration.sparseLayers.count * idle * expert)
        if model.hasPrefix("deepseek") {
            #expect(check.kvBytesPerToken == configuration.layers * (32 + 8) * 4)
        } else {
            let heads = configuration.kvHeads * configuration.headDimension
            #expect(check.kvBytesPerToken == configuration.layers * 2 * heads * 4)
        }
    }

    @Test("a check finds every problem in one run")
    func problems() throws {
        let source = Support.Golden.url("models/mixtral-tiny")
        let folder = try TemporaryFolder(copying: source)
        let second = "model-00002-of-00002.safetensors"
        let file = try SafetensorsFile(MappedBytes(path: folder.path(of: second)))
        // One tensor is left out, one has another shape, one a type that nobody knows, one a type that is no weight's.
        let names = file.tensors.keys.sorted()
        var writer = SafetensorsWriter()
        for (index, name) in names.enumerated() {
            let tensor = try #require(file.tensors[name])
            let bytes = tensor.withBytes { Array($0) }
            switch index {
            case 0: continue
            case 1: writer.add(name, dtype: "F32", shape: tensor.shape + [1], bytes: bytes)
            case 2: writer.add(name, dtype: "F4", shape: tensor.shape, bytes: bytes)
            case 3: writer.add(name, dtype: "I32", shape: tensor.shape, bytes: bytes)
            default: writer.add(name, dtype: tensor.dtype.rawValue, shape: tensor.shape, bytes: bytes)
            }
        }
        try folder.write(writer.file(), to: second)
        let check = ModelCheck(try ModelFiles(directory: folder.path))
        #expect(check.problems.compactMap(\.item).sorted() == names.prefix(4).sorted())
        let expected = ["no such tensor", "shape", "dtype F4", "dtype I32"]
        for (name, words) in zip(names, expected) {
            let problem = try #require(check.problems.first { $0.item == name })
            #expect(problem.found.hasPrefix(words), "\(problem)")
        }
        #expect(check.weights != nil, "sizes are known all the same")

        // Bad keys that leave the shapes known are found beside bad tensors.
        let json = try String(contentsOf: folder.url.appending(path: "config.json"), encoding: .utf8)
        let bad = json.replacing("\"hidden_act\": \"silu\"", with: "\"hidden_act\": \"relu\", \"clip_qkv\": \"x\"")
        try folder.write(bad.utf8, to: "config.json")
        let both = ModelCheck(try ModelFiles(directory: folder.path))
        #expect(Set(both.problems.compactMap(\.item)) == Set(names.prefix(4) + ["hidden_act", "clip_qkv"]))
        #expect(both.weights != nil)
        try folder.write(json.utf8, to: "config.json")

        // A shard that is not there is one problem, as is a folder without weights, or without anything.
        try folder.remove(second)
        #expect(ModelCheck(try ModelFiles(directory: folder.path)).problems.map(\.found) == ["no such file"])
        try folder.remove("model.safetensors.index.json")
        let bare = ModelCheck(try ModelFiles(directory: folder.path))
        #expect(bare.problems.count == 1 && (bare.weights?.parameters ?? 0) > 0)
        try folder.remove("config.json")
        #expect(ModelCheck(try ModelFiles(directory: folder.path)).problems.count == 2)
    }
}
