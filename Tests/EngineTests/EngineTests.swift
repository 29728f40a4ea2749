import Compute
import DemoModel
import Experts
import Foundation
import Models
import Support
import Testing

@testable import Engine

@Suite struct EngineTests {
    struct Golden: Decodable {
        var id: String
        var promptIds: [Int32]
        var greedyIds: [Int32]
        var prefillExpertCounts: [[Int32]]
    }
    struct GoldenFile: Decodable { var goldens: [Golden] }

    static func goldens() throws -> [Golden] {
        try Support.Golden.decode(GoldenFile.self, "demo-model/goldens.json", snakeCase: true).goldens
    }

    static func greedy(_ id: String, _ prompt: [Int32], count: Int) -> GenerationRequest {
        var sampling = SamplingParameters()
        sampling.temperature = 0
        sampling.maxNewTokens = count
        sampling.ignoreEOS = true
        return GenerationRequest(id: id, promptIDs: prompt, sampling: sampling)
    }

    @Test("quantized weights take the memory that was said, and generate", arguments: WeightPrecision.allCases)
    func quantized(precision: WeightPrecision) async throws {
        var configuration = EngineConfiguration()
        configuration.precision = precision
        configuration.maxTotalTokens = 256
        let engine = try await Engine.load(.demo, configuration: configuration, threads: 2)
        let survey = WeightSurvey(try ModelConfiguration(.demo), of: try Checkpoint(.demo), precision: precision)
        #expect(engine.model.precision == precision && engine.model.weightBytes == Int(survey.loadedBytes))
        let golden = try Self.goldens()[0]
        let output = await collect(
            try await engine.submit(Self.greedy("a", golden.promptIds, count: golden.greedyIds.count)))
        #expect(output.ids.count == golden.greedyIds.count)
        #expect(precision != .stored || output.ids == golden.greedyIds)
        await engine.shutdown(deadline: .seconds(5))
    }

    @Test("many requests at once give the reference's tokens, whatever shares their batch")
    func storm() async throws {
        var configuration = EngineConfiguration()
        configuration.maxRunningRequests = 5
        configuration.chunkedPrefillSize = 7
        configuration.maxTotalTokens = 1024
        let engine = try await Engine.load(.demo, configuration: configuration, threads: 2)
        let goldens = try Self.goldens()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (index, golden) in (goldens + goldens).enumerated() {
                group.addTask {
                    let request = Self.greedy("\(index)", golden.promptIds, count: golden.greedyIds.count)
                    let output = await collect(try await engine.submit(request))
                    #expect(output.ids == golden.greedyIds)
                    #expect(output.finish == .length)
                    #expect(output.cachedTokens % KVCache.pageSize == 0)
                    #expect(output.cachedTokens < golden.promptIds.count)
                }
            }
            try await group.waitForAll()
        }
        await engine.checkIntegrity()
        let statistics = await engine.statistics()
        #expect(statistics.usedTokens == 0)
        #expect(statistics.requestsTotal == 24)
        #expect(statistics.generatedTokensTotal == 24 * 32)
        let prompts = 2 * goldens.reduce(0) { $0 + $1.promptIds.count }
        #expect(statistics.promptTokensTotal + statistics.cachedTokensTotal == prompts)
        await engine.shutdown(deadline: .seconds(5))
    }

    @Test("recording counts every routed pair once: (prompt + generated - 1) * K per layer")
    func recording() async throws {
        let engine = try await Engine.load(.demo, threads: 1)
        let golden = try Self.goldens()[0]
        let silent = await collect(try await engine.submit(Self.greedy("before", golden.promptIds, count: 3)))
        try await engine.startRecording()
        let output = await collect(try await engine.submit(Self.greedy("a", golden.promptIds, count: 1)))
        #expect(output.ids.first == silent.ids.first)
        var snapshot = try #require(await engine.recorded())
        #expect(snapshot.totals == golden.prefillExpertCounts.flatMap { $0 }.map(Int64.init))
        _ = await collect(try await engine.submit(Self.greedy("b", golden.promptIds, count: 8)))
        try await engine.stopRecording()
        _ = await collect(try await engine.submit(Self.greedy("after", golden.promptIds, count: 3)))
        snapshot = try #require(await engine.recorded())
        let expected = Int64((golden.promptIds.count + golden.promptIds.count + 7) * 4)
        for layer in 0..<8 {
            #expect(snapshot.totals[layer * 16..<layer * 16 + 16].reduce(0, +) == expected)
        }
        await engine.shutdown(deadline: .seconds(5))
    }

    @Test("prompt and output log-probabilities agree with a prompt that holds the output")
    func logprobs() async throws {
        var configuration = EngineConfiguration()
        configuration.chunkedPrefillSize = 100  // more rows than the logits buffer holds at once
        let engine = try await Engine.load(.demo, configuration: configuration, threads: 2)
        let golden = try Self.goldens()[1]
        var request = Self.greedy("a", golden.promptIds, count: 8)
        request.logprobs = LogprobOptions(promptStart: 0, topCount: 3, tokenIDs: [5, 300])
        let first = await collect(try await engine.submit(request))
        #expect(first.prompt.count == golden.promptIds.count)
        #expect(first.prompt.map(\.token.id) == golden.promptIds)
        #expect(first.prompt[0].token.logprob.isNaN)
        for position in first.prompt.dropFirst() + first.logprobs {
            #expect(position.top.count == 3)
            #expect(position.asked.map(\.id) == [5, 300])
            #expect(position.top[0].logprob >= position.token.logprob)
            #expect(position.top.map(\.logprob) == position.top.map(\.logprob).sorted(by: >))
        }
        for position in first.logprobs { #expect(position.top[0] == position.token) }
        // Feeding the output back gives the same numbers, to the bit.
        var again = Self.greedy("b", golden.promptIds + first.ids + first.ids + golden.promptIds, count: 0)
        again.logprobs = LogprobOptions(promptStart: golden.promptIds.count)
        let second = await collect(try await engine.submit(again))
        #expect(second.ids.isEmpty && second.finish == .length)
        #expect(second.prompt.prefix(8).map(\.token) == first.logprobs.map(\.token))
        await engine.shutdown(deadline: .seconds(5))
    }

    @Test("stop tokens end a generation, unless too few tokens exist or they are ignored")
    func stopTokens() async throws {
        let engine = try await Engine.load(.demo, threads: 1)
        let golden = try Self.goldens()[0]
        var request = Self.greedy("a", golden.promptIds, count: 20)
        request.sampling.stopTokenIDs = [golden.greedyIds[4]]
        let stopped = await collect(try await engine.submit(request))
        #expect(stopped.finish == .stopToken(id: golden.greedyIds[4]))
        #expect(stopped.ids.last == golden.greedyIds[4])
        request.sampling.minNewTokens = 10
        let later = await collect(try await engine.submit(request))
        #expect(later.ids.count >= 10)
        #expect(!later.ids.prefix(10).contains(golden.greedyIds[4]))
        await engine.shutdown(deadline: .seconds(5))
    }

    @Test("the end of the sequence is held back until there are enough tokens, even when it is ignored")
    func minimumLength() async throws {
        let engine = try await Engine.load(.demo, threads: 1)
        let end = try #require(engine.model.endOfSequenceIDs.first)
        var request = Self.greedy("a", [1, 2, 3], count: 6)
        request.sampling.logitBias = [end: 1000]
        request.sampling.minNewTokens = 4
        let ignoring = await collect(try await engine.submit(request))
        #expect(ignoring.ids.map { $0 == end } == [false, false, false, false, true, true])
        #expect(ignoring.finish == .length)
        request.sampling.ignoreEOS = false
        let stopping = await collect(try await engine.submit(request))
        #expect(stopping.ids == Array(ignoring.ids.prefix(5)))
        #expect(stopping.finish == .stopToken(id: end))
        await engine.shutdown(deadline: .seconds(5))
    }

    @Test("a seed repeats a sampled generation, alone or in company")
    func seeds() async throws {
        let engine = try await Engine.load(.demo, threads: 2)
        func request(_ id: String, seed: UInt64) -> GenerationRequest {
            var request = GenerationRequest(id: id, promptIDs: [1582, 1837])
            request.sampling.seed = seed
            request.sampling.temperature = 0.9
            request.sampling.topP = 0.95
            request.sampling.maxNewTokens = 24
            request.sampling.ignoreEOS = true
            return request
        }
        let alone = await collect(try await engine.submit(request("alone", seed: 7)))
        async let one = collect(try engine.submit(request("one", seed: 7)))
        async let two = collect(try engine.submit(request("two", seed: 8)))
        async let three = collect(try engine.submit(request("three", seed: 9)))
        let (a, b, c) = try await (one, two, three)
        #expect(a.ids == alone.ids)
        #expect(Set([a.ids, b.ids, c.ids]).count == 3)
        await engine.shutdown(deadline: .seconds(5))
    }

    @Test("a dropped stream and a cancelled id free their place and pages")
    func cancellation() async throws {
        var configuration = EngineConfiguration()
        configuration.maxRunningRequests = 1
        let engine = try await Engine.load(.demo, configuration: configuration, threads: 1)
        do {
            let stream = try await engine.submit(Self.greedy("dropped", [1, 2, 3], count: 2000))
            for await event in stream.events {
                if case .token = event { break }
            }
        }
        let named = try await engine.submit(Self.greedy("named", [4, 5], count: 2000))
        let waiting = try await engine.submit(Self.greedy("waiting", [4, 5], count: 2))
        var seen = 0
        for await event in named.events {
            switch event {
            case .token:
                seen += 1
                if seen == 3 { await engine.cancel("named") }
            case .finished(let reason): #expect(reason == .aborted(message: "The request was cancelled."))
            case .prompt, .routedExperts: break
            }
        }
        #expect(seen < 2000)
        #expect(await collect(waiting).ids.count == 2)
        await engine.checkIntegrity()
        #expect(await engine.statistics().usedTokens == 0)
        await engine.shutdown(deadline: .seconds(5))
    }

    @Test("requests that cannot run are refused with the reason")
    func refusals() async throws {
        var configuration = EngineConfiguration()
        configuration.maxRunningRequests = 1
        configuration.maxQueuedRequests = 1
        configuration.contextLength = 64
        let engine = try await Engine.load(.demo, configuration: configuration, threads: 1)
        await #expect(throws: EngineError.emptyPrompt) {
            _ = try await engine.submit(Self.greedy("a", [], count: 1))
        }
        await #expect(throws: EngineError.tokenOutOfRange(id: 8192, position: 1, vocabularySize: 8192)) {
            _ = try await engine.submit(Self.greedy("a", [0, 8192], count: 1))
        }
        await #expect(throws: EngineError.promptTooLong(tokens: 64, limit: 63)) {
            _ = try await engine.submit(Self.greedy("a", Array(repeating: 1, count: 64), count: 1))
        }
        var invalid = Self.greedy("a", [1], count: 1)
        invalid.sampling.topP = 0
        await #expect(throws: EngineError.invalidSampling("top_p is 0.0: expected a number in (0, 1]")) {
            _ = try await engine.submit(invalid)
        }
        // The length that is left bounds the output.
        #expect(await collect(try await engine.submit(Self.greedy("b", [1, 2], count: 500))).ids.count == 62)

        let running = try await engine.submit(Self.greedy("running", [1], count: 60))
        let queued = try await engine.submit(Self.greedy("queued", [1], count: 1))
        await #expect(throws: EngineError.duplicateID("queued")) {
            _ = try await engine.submit(Self.greedy("queued", [1], count: 1))
        }
        await #expect(throws: EngineError.queueFull(limit: 1)) {
            while true { _ = try await engine.submit(Self.greedy(UUID().uuidString, [1], count: 60)) }
        }
        _ = await (collect(running), collect(queued))
        await engine.shutdown(deadline: .seconds(5))
        await #expect(throws: EngineError.shuttingDown) {
            _ = try await engine.submit(Self.greedy("late", [1], count: 1))
        }
    }

    @Test("shutting down finishes what runs within the deadline, and aborts the rest")
    func shutdown() async throws {
        let engine = try await Engine.load(.demo, threads: 1)
        let short = try await engine.submit(Self.greedy("short", [1], count: 3))
        await engine.shutdown(deadline: .seconds(30))
        #expect(await collect(short).finish == .length)
        let other = try await Engine.load(.demo, threads: 1)
        let long = try await other.submit(Self.greedy("long", [1], count: 2000))
        await other.shutdown(deadline: .zero)
        #expect(await collect(long).finish == .aborted(message: "The server is shutting down."))
    }

    @Test("a cache that does not fit this machine is refused before it is allocated")
    func memory() async throws {
        var configuration = EngineConfiguration()
        configuration.maxTotalTokens = 1 << 40
        await #expect {
            _ = try await Engine.load(.demo, configuration: configuration, threads: 1)
        } throws: { error in
            guard case EngineError.notEnoughMemory(let needed, let physical) = error else { return false }
            return needed > physical && "\(error)".contains("--max-total-tokens")
        }
    }

    @Test("a context longer than the model's is refused, not shortened")
    func contextLength() async throws {
        var configuration = EngineConfiguration()
        configuration.contextLength = 4096
        await #expect(
            throws: ModelFileError(
                file: "switchyard-demo/config.json", item: "max_position_embeddings", found: "2048",
                expected: "at least the 4096 of --context-length")
        ) { _ = try await Engine.load(.demo, configuration: configuration, threads: 1) }
    }

    @Test("progress ends at the total")
    func progress() async throws {
        let seen = Seen()
        let engine = try await Engine.load(.demo, threads: 2) { seen.append($0) }
        let last = try #require(seen.all.last)
        #expect(last.completedBytes == last.totalBytes)
        #expect(seen.all.count > 50)
        #expect(engine.model.parameters == 17_869_056)
        #expect(engine.model.tokenCapacity >= 2048)
        await engine.shutdown(deadline: .zero)
    }
}
