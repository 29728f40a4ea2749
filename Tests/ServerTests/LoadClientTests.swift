import Engine
import HTTPTypes
import Synchronization
import Testing

@testable import Server

/// What `vllm bench serve` and `sglang.bench_serving` send, field by field, and what they look at in the replies.
@Suite struct LoadClientTests {
    private static let words = "one two three"

    private func fixture() throws -> Fixture { try Fixture(ScriptedEngine(replying: Fixture.ids(Self.words))) }

    @Test(
        "completions: text in every choice, usage in a chunk without choices",
        arguments: [
            #"{"model": "demo", "prompt": "Hi", "repetition_penalty": 1.0, "max_tokens": 32, "logprobs": null, "stream": true, "stream_options": {"include_usage": true}, "ignore_eos": true}"#,
            #"{"model": "demo", "prompt": [5, 6], "repetition_penalty": 1.0, "max_tokens": 32, "logprobs": 1, "stream": true, "stream_options": {"include_usage": true}, "temperature": 0.0, "top_k": 20, "min_p": 0.0}"#,
            #"{"model": "demo", "prompt": "Hi", "temperature": 0.0, "best_of": 1, "max_tokens": 32, "stream": true, "ignore_eos": true, "stream_options": {"include_usage": true}}"#,
            #"{"model": "demo", "prompt": "Hi", "temperature": 0.0, "best_of": 1, "max_tokens": 32, "stream": true, "ignore_eos": true}"#,
        ])
    func completions(body: String) async throws {
        let fixture = try fixture()
        let reply = try await fixture.send(.post, "/v1/completions", body, headers: [.init("x-request-id")!: "bench-0"])
        #expect(reply.status == 200)
        #expect(reply.headers[.contentType]?.hasPrefix("text/event-stream") == true)
        var events = try reply.events
        if body.contains("include_usage") {
            let usage = events.removeLast()
            #expect(usage["choices"] == [])
            #expect(usage["usage"]["completion_tokens"] == .number(Double(try Fixture.ids(Self.words).count)))
        }
        #expect(events.map { $0["choices"][0]["text"].text }.joined() == Self.words)
        let sent = try #require(fixture.engine.state.withLock { $0.submitted.first })
        #expect(sent.sampling.maxNewTokens == 32 && sent.sampling.repetitionPenalty == 1)
        #expect(sent.sampling.ignoreEOS == body.contains("ignore_eos"))
    }

    @Test("one that is not streamed has its text and usage", arguments: [true, false])
    func whole(ignoresEnd: Bool) async throws {
        let body =
            #"{"model": "demo", "prompt": "Hi", "temperature": 0.0, "best_of": 1, "max_tokens": 32, "stream": false, "#
            + #""ignore_eos": \#(ignoresEnd)}"#
        let json = try await fixture().post("/v1/completions", body)
        #expect(json["choices"][0]["text"].text == Self.words)
        #expect(json["usage"]["completion_tokens"] == .number(Double(try Fixture.ids(Self.words).count)))
    }

    @Test(
        "chats: a delta in every choice, usage in a chunk without choices",
        arguments: [
            #"{"model": "demo", "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}], "max_completion_tokens": 32, "stream": true, "stream_options": {"include_usage": true}, "ignore_eos": true}"#,
            #"{"model": "demo", "messages": [{"role": "user", "content": "Hi"}], "temperature": 0.0, "max_tokens": 32, "stream": true, "ignore_eos": true, "stream_options": {"include_usage": true}}"#,
        ])
    func chats(body: String) async throws {
        let fixture = try fixture()
        var events = try await fixture.send(.post, "/v1/chat/completions", body).events
        let usage = events.removeLast()
        #expect(usage["choices"] == [])
        #expect(usage["usage"]["completion_tokens"] == .number(Double(try Fixture.ids(Self.words).count)))
        #expect(events.allSatisfy { $0["choices"][0]["delta"] != .missing })
        #expect(events.map { $0["choices"][0]["delta"]["content"].text }.joined() == Self.words)
        #expect(fixture.engine.state.withLock { $0.submitted.first?.sampling.maxNewTokens } == 32)
    }

    @Test(
        "native streams: text so far, and how many tokens it has",
        arguments: [#""text": "Hi""#, #""input_ids": [5, 6]"#], ["false", "true"])
    func native(prompt: String, logprobs: String) async throws {
        let body = """
            {\(prompt), "sampling_params": {"temperature": 0.0, "max_new_tokens": 32, "ignore_eos": true}, "stream": true,
            "lora_path": null, "return_logprob": \(logprobs), "logprob_start_len": -1, "image_data": null}
            """
        let fixture = try fixture()
        let events = try await fixture.send(.post, "/generate", body).events
        let last = try #require(events.last)
        let count = try Fixture.ids(Self.words).count
        #expect(last["text"].text == Self.words)
        #expect(last["meta_info"]["completion_tokens"] == .number(Double(count)))
        #expect(last["meta_info"]["output_token_logprobs"].list.count == (logprobs == "true" ? count : 0))
        // A line holds one whole event: the client reads line by line.
        #expect(events.allSatisfy { Self.words.hasPrefix($0["text"].text) })
        let whole = try await fixture.post("/generate", body.replacing(#""stream": true"#, with: #""stream": false"#))
        #expect(whole["text"].text == Self.words)
    }

    @Test(
        "a LoRA or an image that is really there is refused",
        arguments: [#""lora_path": "mine""#, #""image_data": "a""#])
    func refused(field: String) async throws {
        #expect(try await fixture().send(.post, "/generate", #"{"text": "Hi", \#(field)}"#).status == 400)
    }

    @Test("what they ask around a run has the members that they look at")
    func surroundings() async throws {
        let fixture = try fixture()
        for path in ["/health", "/health_generate", "/metrics", "/get_model_info", "/model_info"] {
            #expect(try await fixture.send(.get, path).status == 200, "\(path)")
        }
        let card = try await fixture.send(.get, "/v1/models").json["data"][0]
        #expect(card["id"] == "demo/model" && card["root"] != .missing)
        for path in ["/get_server_info", "/server_info"] {
            let info = try await fixture.send(.get, path).json
            #expect(info["internal_states"][0].keys.contains("last_gen_throughput"))
        }
        for method in [HTTPRequest.Method.get, .post] {
            #expect(try await fixture.send(method, "/flush_cache").status == 200)
        }
        #expect(try await fixture.send(.get, "/get_model_info").json["model_path"] == "folder/demo")
    }
}
