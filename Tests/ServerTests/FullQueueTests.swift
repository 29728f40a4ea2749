import DemoModel
import Engine
import Foundation
import HTTPTypes
import Logging
import Synchronization
import Testing

@testable import Server

/// What clients see when a request of a higher priority takes their place in a full queue.
@Suite struct FullQueueTests {
    private static let bodies: [String: String] = [
        "/generate": #""text": "a""#, "/v1/completions": #""prompt": "a""#,
        "/v1/chat/completions": #""messages": [{"role": "user", "content": "a"}]"#,
    ]

    @Test("who is displaced gets 503 with Retry-After, streams too", arguments: bodies.keys.sorted(), [false, true])
    func displaced(path: String, stream: Bool) async throws {
        let fixture = try Fixture(ScriptedEngine { _ in .events([.finished(.refused(.displaced))]) })
        let reply = try await fixture.send(.post, path, "{\(Self.bodies[path] ?? ""), \"stream\": \(stream)}")
        #expect(reply.status == 503)
        #expect(reply.headers[.retryAfter] == "1")
        let error = try reply.json["error"]
        #expect(error["message"].text.contains("higher priority"))
        if path != "/generate" { #expect(error["code"] == "queue_full" && error["type"] == "service_unavailable") }
    }

    @Test("a batch of which one is displaced ends as a whole, and frees the places of the others")
    func batch() async throws {
        let engine = ScriptedEngine { request in
            request.promptIDs == [2]
                ? .events([.finished(.refused(.displaced))]) : .hanging([.prompt(cachedTokens: 0, logprobs: [])])
        }
        let reply = try await Fixture(engine).send(.post, "/generate", #"{"input_ids": [[1], [2], [3]]}"#)
        #expect(reply.status == 503)
        try await eventually { engine.state.withLock { $0.stopped } == 2 }
    }

    @Test("in a stream that has begun, the refusal is an event")
    func begunStream() async throws {
        let engine = ScriptedEngine { .hanging($0.id == "a" ? [.token(id: 11, logprobs: nil)] : []) }
        let generator = TextGenerator(engine: engine, text: try Fixture.demo.get())
        let batch = try await generator.generate(
            [TextRequest(id: "a", prompt: .ids([1])), TextRequest(id: "b", prompt: .ids([1]))])
        var updates = batch.makeAsyncIterator()
        #expect(try await updates.next()?.map(\.index) == [0])
        engine.state.withLock { $0.open["b"] }?.send(.finished(.refused(.displaced)))
        await #expect(throws: EngineError.displaced) { _ = try await updates.next() }
    }

    @Test("with an engine: the lowest priority leaves, whoever runs and the newcomer are served")
    func endToEnd() async throws {
        var configuration = EngineConfiguration()
        configuration.maxRunningRequests = 1
        configuration.maxQueuedRequests = 1
        configuration.usesPriorities = true
        let engine = try await Engine.load(.demo, configuration: configuration, threads: 1)
        var settings = ServerSettings(modelPath: "demo", servedModelName: "demo")
        settings.port = 0
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let server = SwitchyardServer(
            engine: engine, generator: TextGenerator(engine: engine, text: try Fixture.demo.get()), settings: settings,
            logger: logger)
        func send(_ rid: String, priority: Int, tokens: Int) async throws -> Reply {
            try await server.makeApplication().reply(
                to: "/generate",
                """
                {"input_ids": [1, 2, 3], "rid": "\(rid)", "priority": \(priority),
                "sampling_params": {"max_new_tokens": \(tokens), "ignore_eos": true, "temperature": 0}}
                """)
        }
        async let running = send("running", priority: 0, tokens: 2000)
        try await eventually { await engine.statistics().runningRequests == 1 }
        async let low = send("low", priority: 1, tokens: 1)
        try await eventually { await engine.statistics().queuedRequests == 1 }
        async let high = send("high", priority: 2, tokens: 1)
        let displaced = try await low
        #expect(displaced.status == 503 && displaced.headers[.retryAfter] == "1")
        let same = try await send("same", priority: 2, tokens: 1)
        #expect(same.status == 503)
        #expect(try same.json["error"]["message"].text.contains("1 requests wait already"))
        await engine.cancel("running")
        #expect(try await running.json["meta_info"]["finish_reason"]["type"] == "abort")
        #expect(try await high.json["meta_info"]["completion_tokens"] == 1)
        await engine.shutdown(deadline: .seconds(5))
    }
}
