import Engine
import HTTPTypes
import Synchronization
import Testing
import Text

@testable import Server

@Suite struct TextGeneratorTests {
    private func outputs(_ fixture: Fixture, _ requests: [TextRequest]) async throws -> [TextOutput] {
        let generator = TextGenerator(engine: fixture.engine, text: fixture.text)
        return try #require(await generator.generate(requests).finished())
    }

    @Test("tokens become text again")
    func text() async throws {
        let fixture = try Fixture(ScriptedEngine(replying: Fixture.ids("Grüße, 世界! 🚂 done")))
        let output = try await outputs(fixture, [TextRequest(prompt: .text("Hello world"))])[0]
        #expect(output.text == "Grüße, 世界! 🚂 done")
        #expect(output.finish == .length)
        #expect(fixture.engine.state.withLock { $0.submitted[0].promptIDs } == (try Fixture.ids("Hello world")))
    }

    @Test("a stop text across token borders ends the request and frees its place")
    func stopText() async throws {
        let ids = try Fixture.ids("one two three four five")
        #expect(ids.count > 4)
        let engine = ScriptedEngine { .hanging(Array([GenerationEvent].reply(ids, to: $0).dropLast())) }
        let fixture = try Fixture(engine)
        var request = TextRequest(prompt: .ids([1]))
        request.stop = ["wo thr"]
        let output = try await outputs(fixture, [request])[0]
        #expect(output.text == "one t")
        #expect(output.finish == .stopText("wo thr"))
        #expect(output.outputIDs.count < ids.count)
        #expect(engine.state.withLock { $0.stopped } == 1)
    }

    @Test("no published text is ever taken back")
    func growing() async throws {
        let ids = try Fixture.ids("a stop is near but st is not, stop")
        let fixture = try Fixture(ScriptedEngine(replying: ids))
        var request = TextRequest(prompt: .ids([1]))
        request.stop = ["stop!"]
        var assembly = TextAssembly(
            request, promptIDs: [1], tokenizer: fixture.text.tokenizer, endOfSequenceIDs: [])
        var before = ""
        for event in [GenerationEvent].reply(ids, to: GenerationRequest(id: "a", promptIDs: [1])) {
            assembly.append(event)
            #expect(assembly.output.text.hasPrefix(before))
            before = assembly.output.text
        }
        #expect(before == "a stop is near but st is not, stop")
    }

    @Test("the stop token is no text unless asked for", arguments: [false, true])
    func stopToken(keeps: Bool) async throws {
        let end = try #require(try Fixture.ids(" stop").first)
        let ids = try Fixture.ids("one") + [end]
        let fixture = try Fixture(ScriptedEngine(replying: ids, finish: .stopToken(id: end)))
        var request = TextRequest(prompt: .ids([1]))
        request.sampling.stopTokenIDs = [end]
        request.noStopTrim = keeps
        let output = try await outputs(fixture, [request])[0]
        #expect(output.text == (keeps ? "one stop" : "one"))
        #expect(output.outputIDs == ids)
        #expect(output.finish == .stopToken(end))
    }

    @Test("special tokens are text only when asked for", arguments: [true, false])
    func specialTokens(skips: Bool) async throws {
        let fixture = try Fixture(ScriptedEngine(replying: [8190] + Fixture.ids("x")))
        var request = TextRequest(prompt: .ids([1]))
        request.skipSpecialTokens = skips
        #expect(try await outputs(fixture, [request])[0].text == (skips ? "x" : "<|im_start|>x"))
    }

    @Test("when one of a batch is refused, none runs")
    func refusal() async throws {
        let engine = ScriptedEngine {
            $0.id == "b" ? .refused(.queueFull(limit: 1)) : .hanging([.prompt(cachedTokens: 0, logprobs: [])])
        }
        let fixture = try Fixture(engine)
        await #expect(throws: EngineError.queueFull(limit: 1)) {
            _ = try await outputs(
                fixture, [TextRequest(id: "a", prompt: .ids([1])), TextRequest(id: "b", prompt: .ids([1]))])
        }
        #expect(engine.state.withLock { $0.open.isEmpty })
    }

    @Test("who reads wakes as often as it streams, never before the end if it does not, always for stop texts")
    func pace() async throws {
        let fixture = try Fixture(ScriptedEngine(replying: [11])) { $0.streamInterval = 5 }
        for path in ["/generate", "/v1/completions", "/v1/chat/completions"] {
            for more in [#""stream": true"#, #""stream": false"#, #""stream": true, "stop": "a""#, #""stop": "a""#] {
                let stop =
                    path == "/generate"
                    ? more.replacing(#""stop": "a""#, with: #""sampling_params": {"stop": "a"}"#) : more
                let prompt = #""text": "a", "prompt": "a", "messages": [{"role": "user", "content": "a"}]"#
                #expect(try await fixture.send(.post, path, "{\(prompt), \(stop)}").status == 200)
            }
        }
        let paces: [GenerationStream.Pace] = [.tokens(5), .finished, .tokens(1), .tokens(1)]
        #expect(fixture.engine.state.withLock { $0.paces } == paces + paces + paces)
    }

    @Test("dropping the batch ends the engine's streams")
    func dropping() async throws {
        let engine = ScriptedEngine { _ in .hanging([.prompt(cachedTokens: 0, logprobs: [])]) }
        let fixture = try Fixture(engine)
        let generator = TextGenerator(engine: engine, text: fixture.text)
        var batch: TextBatch? = try await generator.generate([TextRequest(prompt: .ids([1]))])
        #expect(batch?.count == 1)
        batch = nil
        try await eventually { engine.state.withLock { $0.stopped } == 1 }
    }

    @Test("a stream that ends without a reason is an abort")
    func silence() async throws {
        let fixture = try Fixture(ScriptedEngine { _ in .events([.prompt(cachedTokens: 0, logprobs: [])]) })
        let output = try await outputs(fixture, [TextRequest(prompt: .ids([1]))])[0]
        guard case .aborted = output.finish else {
            Issue.record("\(String(describing: output.finish))")
            return
        }
    }

    @Test("the chat template of the demo model is applied")
    func template() throws {
        let text = try Fixture(ScriptedEngine(replying: [])).text
        let prompt = try text.prompt(
            messages: .array([.object([("role", .string("user")), ("content", .string("Hi"))])]))
        #expect(prompt == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
    }
}

/// Waits until `condition` holds, at most five minutes.
func eventually(_ condition: @Sendable () async -> Bool) async throws {
    let deadline = ContinuousClock.now + .seconds(300)
    while await !condition() {
        try #require(ContinuousClock.now < deadline, "waited for five minutes")
        try await Task.sleep(for: .milliseconds(5))
    }
}
