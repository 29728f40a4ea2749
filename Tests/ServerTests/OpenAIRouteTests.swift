import Engine
import HTTPTypes
import Synchronization
import Testing
import Text

@testable import Server

@Suite struct OpenAIRouteTests {
    private static let words = "one two three"

    private func fixture(_ finish: FinishReason = .length) throws -> Fixture {
        try Fixture(ScriptedEngine(replying: Fixture.ids(Self.words), finish: finish))
    }

    private static let usageKeys: Set<String> = [
        "prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "reasoning_tokens",
    ]

    @Test("a completion has OpenAI's shape and sglang's extras")
    func completion() async throws {
        let fixture = try fixture(.stopToken(id: 8191))
        let json = try await fixture.post("/v1/completions", #"{"model": "mine", "prompt": "Hi", "rid": "r"}"#)
        #expect(json["object"] == "text_completion")
        #expect(json["id"] == "r")
        #expect(json["model"] == "mine")
        let choice = json["choices"][0]
        #expect(choice.keys == ["index", "text", "logprobs", "finish_reason", "matched_stop"])
        #expect(choice["text"].text == Self.words)
        #expect(choice["finish_reason"] == "stop")
        #expect(choice["matched_stop"] == 8191)
        #expect(choice["logprobs"] == nil)
        #expect(json["usage"].keys == Self.usageKeys)
        let request = fixture.engine.state.withLock { $0.submitted[0] }
        #expect(request.sampling.maxNewTokens == 16)
        #expect(request.sampling.temperature == 1)
    }

    @Test(
        "prompts come as text or ids, one or many",
        arguments: [
            (#""Hi""#, 1), (#"["Hi", "Ho"]"#, 2), ("[1, 2]", 1), ("[[1], [2], [3]]", 3),
        ])
    func prompts(prompt: String, count: Int) async throws {
        let json = try await fixture().post("/v1/completions", #"{"prompt": \#(prompt), "n": 2}"#)
        #expect(json["choices"].list.count == 2 * count)
        #expect(json["choices"].list.enumerated().allSatisfy { $1["index"] == .number(Double($0)) })
    }

    @Test("usage counts a prompt once and every sample")
    func usage() async throws {
        let ids = try Fixture.ids(Self.words)
        let json = try await fixture().post("/v1/completions", #"{"prompt": [1, 2, 3], "n": 3}"#)
        #expect(json["usage"]["prompt_tokens"] == 3)
        #expect(json["usage"]["completion_tokens"] == .number(Double(3 * ids.count)))
        #expect(json["usage"]["total_tokens"] == .number(Double(3 + 3 * ids.count)))
    }

    @Test("without the operator's word, OpenAI replies do not tell what was found in the cache")
    func silentCache() async throws {
        let fixture = try fixture()
        let body = #""prompt": "Hi", "messages": [{"role": "user", "content": "Hi"}]"#
        for path in ["/v1/completions", "/v1/chat/completions"] {
            let usage = try await fixture.post(path, "{\(body)}")["usage"]
            #expect(usage.keys == Self.usageKeys && usage["prompt_tokens_details"] == .null)
            let stream = "{\(body), \"stream\": true, \"stream_options\": {\"include_usage\": true}}"
            let last = try await fixture.send(.post, path, stream).events.last?["usage"]
            #expect(last?.keys == Self.usageKeys && last?["prompt_tokens_details"] == .null)
        }
    }

    @Test("tokens that were found in the cache are reported, once per prompt; priority reaches the engine")
    func cachedTokens() async throws {
        let ids = try Fixture.ids(Self.words)
        let fixture = try Fixture(ScriptedEngine { .events(.reply(ids, to: $0, cachedTokens: 16)) }) {
            $0.reportsCache = true
        }
        let many = #"{"prompt": [[1, 2, 3], [4]], "n": 3, "priority": 7}"#
        let completion = try await fixture.post("/v1/completions", many)
        #expect(completion["usage"]["prompt_tokens_details"]["cached_tokens"] == 32)
        let messages = #"{"messages": [{"role": "user", "content": "Hi"}], "priority": 7}"#
        let chat = try await fixture.post("/v1/chat/completions", messages)
        #expect(chat["usage"]["prompt_tokens_details"]["cached_tokens"] == 16)
        let native = try await fixture.post("/generate", #"{"text": "Hi", "priority": 7}"#)
        #expect(native["meta_info"]["cached_tokens"] == 16)
        #expect(fixture.engine.state.withLock { $0.submitted.allSatisfy { $0.priority == 7 } })
    }

    @Test("log-probabilities of completions are parallel lists, the prompt's too with echo")
    func completionLogprobs() async throws {
        let fixture = try fixture()
        let count = try Fixture.ids(Self.words).count
        let json = try await fixture.post(
            "/v1/completions", #"{"prompt": [5, 6], "logprobs": 1, "echo": true}"#)
        let logprobs = json["choices"][0]["logprobs"]
        #expect(logprobs.keys == ["tokens", "token_logprobs", "top_logprobs", "text_offset"])
        #expect(logprobs["tokens"].list.count == count + 2)
        #expect(logprobs["token_logprobs"][0] == nil)
        #expect(logprobs["token_logprobs"][1] == -0.5)
        #expect(logprobs["top_logprobs"][0] == nil)
        #expect(logprobs["top_logprobs"][1][fixture.text.tokenizer.decode([0])] == -1)
        #expect(logprobs["text_offset"].list.allSatisfy { $0 == -1 })
        #expect(json["choices"][0]["text"].text == fixture.text.tokenizer.decode([5, 6]) + Self.words)
    }

    @Test("a streamed completion adds up, and usage comes last when asked for", arguments: [false, true])
    func streamedCompletion(includesUsage: Bool) async throws {
        let body = #"{"prompt": "Hi", "stream": true, "stream_options": {"include_usage": \#(includesUsage)}}"#
        var events = try await fixture().send(.post, "/v1/completions", body).events
        if includesUsage {
            let last = events.removeLast()
            #expect(last["choices"] == [])
            #expect(last["usage"].keys == Self.usageKeys)
        }
        #expect(events.map { $0["choices"][0]["text"].text }.joined() == Self.words)
        #expect(events.last?["choices"][0]["finish_reason"] == "length")
        #expect(events.allSatisfy { $0["object"] == "text_completion" && $0["usage"] == nil })
    }

    @Test("a chat reply has OpenAI's shape; the prompt is the template's, sampling the model's")
    func chat() async throws {
        let fixture = try fixture()
        let json = try await fixture.post(
            "/v1/chat/completions",
            """
            {"messages": [{"role": "system", "content": "Be short."},
              {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": "there"}]}]}
            """)
        #expect(json["object"] == "chat.completion")
        #expect(json["model"] == "demo/model")
        let choice = json["choices"][0]
        #expect(choice.keys == ["index", "message", "logprobs", "finish_reason", "matched_stop"])
        #expect(choice["message"].keys == ["role", "content", "reasoning_content", "tool_calls"])
        #expect(choice["message"]["role"] == "assistant")
        #expect(choice["message"]["content"].text == Self.words)
        let request = fixture.engine.state.withLock { $0.submitted[0] }
        let prompt =
            "<|im_start|>system\nBe short.<|im_end|>\n<|im_start|>user\nHi there<|im_end|>\n<|im_start|>assistant\n"
        #expect(request.promptIDs == fixture.text.tokenizer.encode(prompt))
        #expect(request.sampling.temperature == 0.7)
        #expect(request.sampling.topK == 40)
        #expect(request.sampling.maxNewTokens == 2048 - request.promptIDs.count)
    }

    @Test("the last message of the assistant can be continued")
    func continuing() async throws {
        let fixture = try fixture()
        _ = try await fixture.post(
            "/v1/chat/completions",
            """
            {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hel"}],
             "continue_final_message": true, "max_completion_tokens": 3, "seed": 4}
            """)
        let request = fixture.engine.state.withLock { $0.submitted[0] }
        let prompt = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHel"
        #expect(request.promptIDs == fixture.text.tokenizer.encode(prompt))
        #expect(request.sampling.maxNewTokens == 3)
        #expect(request.sampling.seed == 4)
    }

    @Test("a streamed chat begins with the role, ends with the reason, then usage")
    func streamedChat() async throws {
        let events = try await fixture().send(
            .post, "/v1/chat/completions",
            """
            {"messages": [{"role": "user", "content": "Hi"}], "stream": true,
             "stream_options": {"include_usage": true}}
            """
        ).events
        #expect(events.allSatisfy { $0["object"] == "chat.completion.chunk" })
        let deltas = events.dropLast().map { $0["choices"][0]["delta"] }
        #expect(deltas.first?["role"] == "assistant")
        #expect(deltas.first?["content"] == "")
        #expect(deltas.filter { $0["role"] == "assistant" }.count == 1)
        #expect(deltas.map(\.["content"].text).joined() == Self.words)
        let ends = events.compactMap { $0["choices"][0]["finish_reason"].text }.filter { !$0.isEmpty }
        #expect(ends == ["length"])
        #expect(events.last?["choices"] == [])
        #expect(events.last?["usage"].keys == Self.usageKeys)
    }

    @Test("log-probabilities of chats list tokens with their bytes")
    func chatLogprobs() async throws {
        let fixture = try fixture()
        let json = try await fixture.post(
            "/v1/chat/completions",
            #"{"messages": [{"role": "user", "content": "Hi"}], "logprobs": true, "top_logprobs": 2}"#)
        let content = json["choices"][0]["logprobs"]["content"]
        #expect(content.list.count == (try Fixture.ids(Self.words).count))
        #expect(content[0].keys == ["token", "bytes", "logprob", "top_logprobs"])
        #expect(content[0]["logprob"] == -0.5)
        #expect(content[0]["bytes"].list == content[0]["token"].text.utf8.map { .number(Double($0)) })
        #expect(content[0]["top_logprobs"].list.count == 2)
    }

    @Test(
        "errors have OpenAI's shape and name the field",
        arguments: [
            ("/v1/completions", "{}", "prompt"),
            ("/v1/completions", #"{"prompt": "a", "max_tokens": -1}"#, "max_tokens"),
            ("/v1/completions", #"{"prompt": "a", "logprobs": 21}"#, "logprobs"),
            ("/v1/completions", #"{"prompt": "a", "best_of": 3}"#, "best_of"),
            ("/v1/completions", #"{"prompt": "a", "suffix": "b"}"#, "suffix"),
            ("/v1/completions", #"{"prompt": []}"#, "prompt"),
            ("/v1/chat/completions", "{}", "messages"),
            ("/v1/chat/completions", #"{"messages": []}"#, "messages"),
            ("/v1/chat/completions", #"{"messages": [{"content": "a"}]}"#, "messages[0].role"),
            ("/v1/chat/completions", #"{"messages": [{"role": "user", "content": 5}]}"#, "messages[0].content"),
            (
                "/v1/chat/completions",
                #"{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}"#,
                "messages[0].content[0]"
            ),
            (
                "/v1/chat/completions",
                #"{"messages": [{"role": "user", "content": "a"}], "top_logprobs": 30}"#, "top_logprobs"
            ),
            (
                "/v1/chat/completions",
                #"{"messages": [{"role": "user", "content": "a"}], "response_format": {"type": "json_object"}}"#,
                "response_format"
            ),
            (
                "/v1/chat/completions",
                #"{"messages": [{"role": "user", "content": "a"}], "tool_choice": "required"}"#, "tool_choice"
            ),
            (
                "/v1/chat/completions",
                #"{"messages": [{"role": "user", "content": "a"}], "temperature": -1}"#, "temperature"
            ),
        ])
    func validation(path: String, body: String, field: String) async throws {
        let reply = try await fixture().send(.post, path, body)
        #expect(reply.status == 400)
        let error = try reply.json["error"]
        #expect(error.keys == ["message", "type", "param", "code"])
        #expect(error["type"] == "invalid_request_error")
        #expect(error["param"].text == field, "\(error)")
        #expect(error["message"].text.contains(field.split(separator: ".").last ?? ""))
    }

    @Test("a full queue is 503 with Retry-After")
    func queueFull() async throws {
        let fixture = try Fixture(ScriptedEngine { _ in .refused(.queueFull(limit: 4)) })
        let reply = try await fixture.send(.post, "/v1/completions", #"{"prompt": "a"}"#)
        #expect(reply.status == 503)
        #expect(reply.headers[.retryAfter] == "1")
        #expect(try reply.json["error"]["type"] == "service_unavailable")
    }

    @Test("models are listed and found by name, slashes and all")
    func models() async throws {
        let fixture = try fixture()
        let list = try await fixture.send(.get, "/v1/models").json
        #expect(list["object"] == "list")
        #expect(list["data"][0]["id"] == "demo/model")
        #expect(list["data"][0]["max_model_len"] == 2048)
        #expect(list["data"][0]["owned_by"] == "sglang")
        #expect(try await fixture.send(.get, "/v1/models/demo/model").json == list["data"][0])
        #expect(try await fixture.send(.get, "/v1/models/demo%2Fmodel").status == 200)
        let missing = try await fixture.send(.get, "/v1/models/other")
        #expect(missing.status == 404)
        #expect(try missing.json["error"]["code"] == "model_not_found")
        #expect(try missing.json["error"]["param"] == "model")
    }
}
