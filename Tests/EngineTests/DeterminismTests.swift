import Compute
import Experts
import Foundation
import Models
import Support
import Testing

@testable import Engine

/// What a request is answered does not depend on what else happens.
@Suite struct DeterminismTests {
    /// How a storm is run.
    enum Conditions: CaseIterable {
        case together, smallChunks, oneTokenChunks, withoutTree, longestPrefixMatch, fewPages, fewPagesWithoutTree
        case warmTree, priorities

        var configuration: EngineConfiguration {
            var configuration = EngineConfiguration()
            switch self {
            case .together, .warmTree: break
            case .smallChunks: configuration.chunkedPrefillSize = 23
            case .oneTokenChunks: configuration.chunkedPrefillSize = 1
            case .withoutTree: configuration.reusesPrefixes = false
            case .longestPrefixMatch:
                configuration.schedulePolicy = .longestPrefixMatch
                configuration.maxRunningRequests = 2
                configuration.chunkedPrefillSize = 100
            case .fewPages: configuration.maxTotalTokens = 288
            case .fewPagesWithoutTree:
                configuration.maxTotalTokens = 288
                configuration.reusesPrefixes = false
                configuration.chunkedPrefillSize = 40
            case .priorities:
                configuration.maxRunningRequests = 2
                configuration.usesPriorities = true
                configuration.preemptionThreshold = 1
            }
            return configuration
        }

        var preempts: Bool { self == .fewPages || self == .fewPagesWithoutTree || self == .priorities }
        var hits: Bool { self != .withoutTree && self != .fewPagesWithoutTree }
    }

    /// Loads a model: DeepSeek's compute prompts and output in different ways.
    private static func load(
        _ configuration: EngineConfiguration, _ model: String = "qwen2-moe-tiny", _ cacheType: CacheType = .float32,
        threads: Int = 2
    ) async throws -> Engine {
        var configuration = configuration
        configuration.cacheType = cacheType
        let files = try ModelFiles(directory: Golden.url("models/\(model)").path)
        return try await Engine.load(files, configuration: configuration, threads: threads)
    }

    /// Requests that begin alike, in groups, and ask for everything there is.
    private static var requests: [GenerationRequest] {
        var random = SeededGenerator(seed: 6)
        func ids(_ count: Int) -> [Int32] { (0..<count).map { _ in Int32.random(in: 0..<317, using: &random) } }
        let system = [ids(48), ids(35), []]
        return (0..<12).map { index in
            let prompt = system[index % 3] + ids([1, 9, 17, 30][index % 4])
            var request = GenerationRequest(id: "\(index)", promptIDs: prompt)
            request.sampling.maxNewTokens = [90, 20, 220][index % 3]
            request.sampling.ignoreEOS = true
            request.sampling.seed = UInt64(index)
            request.sampling.temperature = index % 4 == 1 ? 0.8 : 0
            request.sampling.topP = 0.9
            request.sampling.frequencyPenalty = index % 5 == 4 ? 0.5 : 0
            if index % 2 == 0 {
                let start = index % 6 == 0 ? 0 : prompt.count / 2
                request.logprobs = LogprobOptions(promptStart: index == 2 ? nil : start, topCount: 2, tokenIDs: [7])
            }
            if index % 3 == 1 { request.routedExpertsStart = index % 2 == 0 ? 0 : prompt.count - 1 }
            request.priority = index / 4
            return request
        }
    }

    /// Each request alone, in an engine that keeps nothing.
    private static func alone(
        _ model: String = "qwen2-moe-tiny", _ cacheType: CacheType = .float32
    ) async throws -> [Output] {
        var configuration = EngineConfiguration()
        configuration.reusesPrefixes = false
        let engine = try await load(configuration, model, cacheType, threads: 1)
        var outputs: [Output] = []
        for request in requests { outputs.append(await collect(try await engine.submit(request))) }
        await engine.shutdown(deadline: .zero)
        return outputs
    }

    private static func together(_ engine: Engine) async throws -> [Output] {
        var streams: [GenerationStream] = []
        for request in requests { streams.append(try await engine.submit(request)) }
        var outputs: [Output] = []
        for stream in streams { outputs.append(await collect(stream)) }
        return outputs
    }

    @Test(
        "tokens, log-probabilities and experts are the same bits, alone and in any storm",
        arguments: [
            ("qwen2-moe-tiny", CacheType.float32), ("deepseek-v2-tiny", .float32), ("deepseek-v3-tiny", .bfloat16),
            ("qwen2-moe-tiny", .bfloat16),
        ])
    func storms(model: String, cacheType: CacheType) async throws {
        let expected = try await Self.alone(model, cacheType)
        #expect(expected.allSatisfy { $0.finish == .length && $0.cachedTokens == 0 })
        for conditions in Conditions.allCases {
            let engine = try await Self.load(conditions.configuration, model, cacheType)
            if conditions == .warmTree { _ = try await Self.together(engine) }
            let outputs = try await Self.together(engine)
            for (index, (found, expected)) in zip(outputs, expected).enumerated() {
                #expect(found.bits == expected.bits, "request \(index), \(conditions)")
            }
            await engine.checkIntegrity()
            let statistics = await engine.statistics()
            #expect((statistics.preemptionsTotal > 0) == conditions.preempts, "\(conditions)")
            #expect((statistics.cachedTokensTotal > 0) == conditions.hits, "\(conditions)")
            #expect(outputs.contains { $0.cachedTokens > 0 } == conditions.hits)
            #expect(statistics.usedTokens == 0)
            await engine.shutdown(deadline: .zero)
        }
    }

    @Test("what is recorded is what was computed: not what was found, and again what was lost")
    func recording() async throws {
        let generated = Self.requests.reduce(0) { $0 + $1.sampling.maxNewTokens }
        for conditions in [Conditions.withoutTree, .together, .fewPages] {
            let engine = try await Self.load(conditions.configuration)
            let outputs = try await Self.together(engine)
            let snapshot = try #require(await engine.recorded())
            let statistics = await engine.statistics()
            // The last token of each request is never fed.
            let once = statistics.promptTokensTotal + generated - outputs.count
            let prompts = Self.requests.reduce(0) { $0 + $1.promptIDs.count }
            #expect(statistics.promptTokensTotal + statistics.cachedTokensTotal == prompts)
            #expect(statistics.cachedTokensTotal == outputs.reduce(0) { $0 + $1.cachedTokens })
            if conditions.preempts {
                #expect(snapshot.recorded.tokens > once)
            } else {
                #expect(snapshot.recorded.tokens == once)
            }
            #expect(snapshot.totals.reduce(0, +) == Int64(snapshot.recorded.tokens * 3 * 4))
            await engine.shutdown(deadline: .zero)
        }
    }

    @Test("a storm in which half are cancelled leaves every page in its place")
    func cancellations() async throws {
        let expected = try await Self.alone()
        let engine = try await Self.load(Conditions.fewPages.configuration)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (index, request) in Self.requests.enumerated() {
                let stream = try await engine.submit(request)
                group.addTask {
                    guard index % 2 == 0 else {
                        let output = await collect(stream)
                        #expect(output.bits == expected[index].bits)
                        return
                    }
                    // Half of these drop the stream, half cancel by name.
                    var seen = 0
                    for await event in stream.events {
                        guard case .token = event else { continue }
                        seen += 1
                        await engine.checkIntegrity()
                        if seen == 10 * index, index % 4 == 0 { break }
                        if seen == 10 * index { await engine.cancel(request.id) }
                    }
                }
            }
            try await group.waitForAll()
        }
        while await engine.statistics().runningRequests > 0 { await Task.yield() }
        await engine.checkIntegrity()
        #expect(await engine.statistics().usedTokens == 0)
        #expect(await engine.flushCache())
        await engine.checkIntegrity()
        await engine.shutdown(deadline: .zero)
    }

    @Test("flushing empties the cache, but only at rest")
    func flush() async throws {
        let engine = try await Self.load(EngineConfiguration())
        let request = Self.requests[0]
        func cached() async throws -> Int { await collect(try await engine.submit(request)).cachedTokens }
        var plain = request
        plain.logprobs = nil
        _ = await collect(try await engine.submit(plain))
        #expect(await collect(try await engine.submit(plain)).cachedTokens == 48)
        #expect(try await cached() == 0)  // it wants the prompt's log-probabilities
        #expect(await engine.flushCache())
        #expect(await collect(try await engine.submit(plain)).cachedTokens == 0)
        let running = try await engine.submit(plain)
        #expect(await !engine.flushCache())
        #expect(await collect(running).ids.count == 90)
        await engine.shutdown(deadline: .zero)
    }
}

extension Output {
    /// Everything but how it was found, comparable bit for bit.
    fileprivate var bits: Bits {
        func bits(_ token: TokenLogprob) -> [UInt32] {
            [UInt32(bitPattern: token.id), token.logprob.isNaN ? .max : token.logprob.bitPattern]
        }
        func bits(_ positions: [PositionLogprobs]) -> [[UInt32]] {
            positions.map { ([$0.token] + $0.top + $0.asked).flatMap(bits) }
        }
        return Bits(
            ids: ids, prompt: bits(prompt), logprobs: bits(logprobs), experts: routedExperts, finish: finish)
    }

    fileprivate struct Bits: Equatable {
        var ids: [Int32]
        var prompt: [[UInt32]]
        var logprobs: [[UInt32]]
        var experts: RoutedExperts?
        var finish: FinishReason?
    }
}
