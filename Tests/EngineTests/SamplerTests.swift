import Compute
import Foundation
import Support
import Testing

@testable import Engine

@Suite struct SamplerTests {
    struct File: Decodable { var cases: [Case] }
    struct Case: Decodable {
        var index: Int
        var params: Parameters
        var outputIds: [Int32]
        var stopTokenIds: [Int32]?
        var eosTokenId: Int32?
    }
    struct Parameters: Decodable {
        var temperature: Float?
        var topP: Float?
        var topK: Int?
        var minP: Float?
        var frequencyPenalty: Float?
        var presencePenalty: Float?
        var repetitionPenalty: Float?
        var minNewTokens: Int?
    }

    @Test("penalties and filters equal the reference") func goldens() throws {
        let file = try Golden.decode(File.self, "sampling/sampling.json", snakeCase: true)
        let tensors = try GoldenTensors("sampling/sampling.safetensors")
        #expect(file.cases.count > 10)
        let backend = try #require(CPUBackend(threads: 1))
        defer { backend.stop() }
        for (index, golden) in file.cases.enumerated() {
            var logits = try tensors.float32("s\(index).logits")
            let sampler = Sampler(vocabularySize: logits.count, backend: backend)
            var parameters = SamplingParameters()
            parameters.temperature = golden.params.temperature ?? 1
            parameters.topP = golden.params.topP ?? 1
            parameters.topK = golden.params.topK ?? -1
            parameters.minP = golden.params.minP ?? 0
            parameters.frequencyPenalty = golden.params.frequencyPenalty ?? 0
            parameters.presencePenalty = golden.params.presencePenalty ?? 0
            parameters.repetitionPenalty = golden.params.repetitionPenalty ?? 1
            let counts = Dictionary(golden.outputIds.map { ($0, 1) }, uniquingKeysWith: +)
            let ends = Set((golden.stopTokenIds ?? []) + (golden.eosTokenId.map { [$0] } ?? []))
            let suppressed = golden.outputIds.count < golden.params.minNewTokens ?? 0 ? ends : []
            try logits.withUnsafeMutableBufferPointer { logits in
                let base = try #require(logits.baseAddress)
                _ = sampler.adjust(
                    base, parameters, suppressed: suppressed, counts: parameters.hasPenalty ? counts : [:])
                let expectedLogits = try tensors.float32("s\(index).penalized_logits")
                for (found, expected) in zip(logits, expectedLogits) {
                    #expect(found == expected || abs(found - expected) <= 1e-5, "case \(index)")
                }
                let expected = try tensors.float32("s\(index).probs_joint")
                let maximum = try #require(logits.max())
                guard !parameters.isGreedy else {
                    #expect(expected[try #require(logits.firstIndex(of: maximum))] == 1)
                    return
                }
                var found = [Double](repeating: 0, count: logits.count)
                for (id, probability) in sampler.distribution(sampler.filter(base, maximum: maximum, parameters)) {
                    found[Int(id)] = probability
                }
                for (id, pair) in zip(found, expected).enumerated() {
                    #expect(abs(pair.0 - Double(pair.1)) <= 1e-5, "case \(index), id \(id)")
                    #expect((pair.0 > 1e-6) == (pair.1 > 1e-6), "case \(index), id \(id)")
                }
            }
        }
    }

    @Test("a repetition penalty of 0 is the limit of small ones: what was output and is likely comes again")
    func noRepetitionPenalty() throws {
        let backend = try #require(CPUBackend(threads: 1))
        defer { backend.stop() }
        let sampler = Sampler(vocabularySize: 4, backend: backend)
        var parameters = SamplingParameters()
        parameters.repetitionPenalty = 0
        var state = SamplerState(random: RandomSequence(seed: 3))
        state.counts = [0: 1, 1: 1, 2: 2]
        var logits: [Float] = [2, 0, -3, 5]
        let token = logits.withUnsafeMutableBufferPointer {
            sampler.choose(
                $0.baseAddress!, best: 3, maximum: 5, parameters: parameters, suppressed: [], state: &state)
        }
        #expect(token == 0)
        let expected: [Float] = [.infinity, 0, 0, 5]
        #expect(logits == expected)
    }

    @Test("draws follow the distribution") func frequencies() throws {
        let backend = try #require(CPUBackend(threads: 1))
        defer { backend.stop() }
        let sampler = Sampler(vocabularySize: 5, backend: backend)
        var state = SamplerState(random: RandomSequence(seed: 3))
        var parameters = SamplingParameters()
        parameters.topK = 3
        var histogram = [Int](repeating: 0, count: 5)
        let weights: [Double] = [1, 4, 2, 0.5, 3]
        for _ in 0..<20_000 {
            var logits = weights.map { Float(log($0)) }
            let token = logits.withUnsafeMutableBufferPointer {
                sampler.choose(
                    $0.baseAddress!, best: 1, maximum: Float(log(4.0)), parameters: parameters, suppressed: [],
                    state: &state)
            }
            histogram[Int(token)] += 1
        }
        #expect(histogram[0] == 0 && histogram[3] == 0)
        for (id, weight) in [(1, 4.0), (2, 2.0), (4, 3.0)] {
            // Four standard deviations of a binomial of 20,000 draws are below 0.015.
            #expect(abs(Double(histogram[id]) / 20_000 - weight / 9) < 0.015)
        }
    }
}
