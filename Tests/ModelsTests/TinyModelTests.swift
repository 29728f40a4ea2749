import Compute
import Foundation
import Support
import Testing

@testable import Models

@Suite struct TinyModelTests {
    static let models: [TinyModel] = [
        TinyModel(family: .mixtral, name: "Mixtral, few experts", experts: 3, renormalizes: true),
        TinyModel(
            family: .mixtral, name: "Mixtral, one expert, head_dim of its own", vocabulary: 1, hidden: 5, heads: 5,
            kvHeads: 5, headDimension: 2, experts: 1, topK: 1, renormalizes: true),
        TinyModel(family: .olmoe, name: "OLMoE", hidden: 30, kvHeads: 3, experts: 17, topK: 17, expertSize: 1),
        TinyModel(
            family: .olmoe, name: "OLMoE with biases, held queries, tied", hidden: 30, kvHeads: 1, hasBias: true,
            limit: 0.8, ties: true),
        TinyModel(family: .qwen2, name: "Qwen2-MoE", hidden: 30, shared: 13, hasBias: true),
        TinyModel(
            family: .qwen2, name: "Qwen2-MoE, some layers dense", hidden: 30, layers: 4, shared: 13, sparse: [1],
            hasBias: true, keys: ["decoder_sparse_step": "2", "mlp_only_layers": "[3]"]),
        TinyModel(
            family: .qwen3, name: "Qwen3-MoE", headDimension: 14, renormalizes: true,
            yarn: (factor: 3, original: 50, mscale: 1, mscaleAll: 0)),
        TinyModel(family: .qwen3, name: "Qwen3-MoE, linear scaling", renormalizes: true, linear: 2.5),
        TinyModel(
            family: .qwen2, name: "Qwen2-MoE, dynamic scaling", hidden: 30, shared: 13, hasBias: true,
            keys: ["rope_scaling": #"{"rope_type": "dynamic", "factor": 4.0}"#]),
        TinyModel(family: .deepSeekV2, name: "DeepSeek-V2, linear scaling", shared: 1, linear: 4),
        TinyModel(
            family: .qwen3, name: "Qwen3-MoE with biases, some layers dense", heads: 4, kvHeads: 2, sparse: [0, 2],
            hasBias: true, keys: ["mlp_only_layers": "[1]"]),
        TinyModel(
            family: .deepSeekV2, name: "DeepSeek-V2 without query latent", shared: 2, sparse: [1, 2],
            yarn: (factor: 5, original: 40, mscale: 0.707, mscaleAll: 0.707), keys: ["first_k_dense_replace": "1"]),
        TinyModel(
            family: .deepSeekV2, name: "DeepSeek-V2 with groups, every other layer", heads: 7, experts: 12, topK: 3,
            sparse: [0, 2], groups: 4, keptGroups: 2, method: "group_limited_greedy", scale: 3, queryRank: 13,
            rank: 33, nope: 1, rotary: 2, value: 17, yarn: (factor: 5, original: 40, mscale: 1, mscaleAll: 0.5),
            keys: ["moe_layer_freq": "2"]),
        TinyModel(
            family: .deepSeekV3, name: "DeepSeek-V3", heads: 5, experts: 12, topK: 4, shared: 1, sparse: [2],
            renormalizes: true, hasBias: true, groups: 3, keptGroups: 2, method: "noaux_tc", scale: 2.5, queryRank: 13,
            keys: ["first_k_dense_replace": "2"]),
        TinyModel(
            family: .deepSeekV3, name: "DeepSeek-V3 in 8 bits, pairs half a width apart", heads: 2, experts: 6, topK: 1,
            shared: 1, renormalizes: true, method: "noaux_tc", scale: 2.5, interleaved: false, scaleBlocks: [4, 5]),
        TinyModel(
            family: .deepSeekV3, name: "DeepSeek-V3 in 8 bits, large blocks", renormalizes: true, method: "noaux_tc",
            queryRank: 8, scaleBlocks: [128, 128]),
    ]

    @Test("logits and expert counts equal a plain implementation, whatever the dimensions", arguments: models)
    func reference(model: TinyModel) throws {
        let (folder, weights) = try model.make(seed: 7)
        var generator = SeededGenerator(seed: 8)
        let ids = (0..<45).map { _ in Int32.random(in: 0..<Int32(model.vocabulary), using: &generator) }
        let runner = try TestRunner(ModelFiles(directory: folder.path), threads: 2)
        defer { runner.backend.stop() }
        let found = runner.logits(ids, from: 0)
        let expected = ReferenceModel(model: model, weights: weights).run(ids)
        for (position, row) in found.enumerated() {
            // Float32 rounding of some dozens of chained sums.
            #expect(relativeDistance(row, expected.logits[position]) < 2e-5, "position \(position)")
            // The reference expands the keys and values of latent attention; its greedy token is the same.
            let best = expected.logits[position].max() ?? 0
            #expect(row.firstIndex(of: row.max() ?? 0) == expected.logits[position].firstIndex(of: best))
        }
        #expect(runner.counts == expected.counts)
    }

    @Test("a token has the same bits in chunks of any size and one by one", arguments: models, [1, 2, 5, 16, 44])
    func chunks(model: TinyModel, size: Int) throws {
        let (folder, _) = try model.make(seed: 9)
        var generator = SeededGenerator(seed: 10)
        let ids = (0..<45).map { _ in Int32.random(in: 0..<Int32(model.vocabulary), using: &generator) }
        let whole = try TestRunner(ModelFiles(directory: folder.path))
        let cut = try TestRunner(ModelFiles(directory: folder.path), threads: 2)
        defer {
            whole.backend.stop()
            cut.backend.stop()
        }
        var found: [[Float]] = []
        for start in stride(from: 0, to: ids.count, by: size) {
            found += cut.logits(Array(ids[start..<min(start + size, ids.count)]), from: start)
        }
        #expect(zip(found, whole.logits(ids, from: 0)).allSatisfy(haveSameBits))
    }

    @Test(
        "a prompt and the same tokens as output give the same logits but for rounding, in one pass, too",
        arguments: models.filter(\.isLatent))
    func forms(model: TinyModel) throws {
        let (folder, weights) = try model.make(seed: 11)
        var generator = SeededGenerator(seed: 12)
        let ids = (0..<45).map { _ in Int32.random(in: 0..<Int32(model.vocabulary), using: &generator) }
        let runner = try TestRunner(ModelFiles(directory: folder.path), threads: 2)
        defer { runner.backend.stop() }
        #expect(type(of: runner.model).tellsPromptsFromOutput)
        let absorbed = runner.logits(ids, from: 0, isPrompt: false)
        let expanded = runner.logits(ids, from: 0, isPrompt: true)
        let reference = ReferenceModel(model: model, weights: weights).run(ids).logits
        for position in ids.indices {
            #expect(relativeDistance(absorbed[position], reference[position]) < 2e-5, "position \(position)")
            let greedy = [absorbed, expanded].map { $0[position].firstIndex(of: $0[position].max() ?? 0) }
            #expect(greedy[0] == greedy[1])
        }
        #expect(absorbed != expanded, "two forms, two ways of rounding")
        // Generated one by one or recomputed at once, behind a prompt: the same bits.
        let behind = { (start: Int, end: Int) in runner.logits(Array(ids[start..<end]), from: start, isPrompt: false) }
        _ = runner.logits(Array(ids[..<20]), from: 0)
        let single = (20..<45).flatMap { behind($0, $0 + 1) }
        _ = runner.logits(Array(ids[..<20]), from: 0)
        #expect(zip(single, behind(20, 45)).allSatisfy(haveSameBits))
    }
}
