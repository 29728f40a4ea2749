import Engine
import HTTPTypes
import Synchronization
import Testing
import Text

@testable import Server

@Suite struct GenerateRouteTests {
    private static let ids: [Int32] = [11, 12, 13]

    private func fixture() throws -> Fixture { try Fixture(ScriptedEngine(replying: Self.ids)) }

    @Test("a reply has text, ids and meta information", arguments: ["POST", "PUT"])
    func shape(method: String) async throws {
        let fixture = try fixture()
        let method = try #require(HTTPRequest.Method(rawValue: method))
        let reply = try await fixture.send(method, "/generate", #"{"text": "Hello", "rid": "me", "unknown": 1}"#)
        #expect(reply.status == 200)
        #expect(reply.headers[.contentType] == "application/json")
        let json = try reply.json
        #expect(json.keys == ["text", "output_ids", "meta_info"])
        #expect(json["text"].text == fixture.text.tokenizer.decode(Self.ids))
        #expect(json["output_ids"] == [11, 12, 13])
        let meta = json["meta_info"]
        #expect(
            meta.keys == [
                "id", "finish_reason", "prompt_tokens", "completion_tokens", "cached_tokens", "e2e_latency",
                "weight_version",
            ])
        #expect(meta["id"] == "me")
        #expect(meta["finish_reason"]["type"] == "length")
        #expect(meta["finish_reason"]["length"] == 3)
        #expect(meta["completion_tokens"] == 3)
    }

    @Test("sglang's defaults reach the engine, whatever the model recommends; null is no value")
    func defaults() async throws {
        let fixture = try fixture()
        _ = try await fixture.post(
            "/generate",
            """
            {"input_ids": [1, 2], "text": null, "rid": null, "stream": null, "image_data": null,
             "return_logprob": null, "sampling_params": {"temperature": null, "top_k": null, "stop": null,
             "regex": null, "max_new_tokens": null}}
            """)
        let request = fixture.engine.state.withLock { $0.submitted[0] }
        #expect(request.sampling == SamplingParameters())
        #expect(request.logprobs == nil)
        #expect(request.id.count == 32)
    }

    @Test("sampling parameters arrive as written")
    func sampling() async throws {
        let fixture = try fixture()
        _ = try await fixture.post(
            "/generate",
            """
            {"input_ids": [1], "sampling_params": {"max_new_tokens": 7, "min_new_tokens": 2, "temperature": 0.5,
             "top_p": 0.25, "top_k": 3, "min_p": 0.125, "frequency_penalty": 1, "presence_penalty": -1,
             "repetition_penalty": 1.5, "stop_token_ids": [4], "ignore_eos": true, "logit_bias": {"9": -2},
             "sampling_seed": 77}}
            """)
        var expected = SamplingParameters()
        expected.maxNewTokens = 7
        expected.minNewTokens = 2
        expected.temperature = 0.5
        expected.topP = 0.25
        expected.topK = 3
        expected.minP = 0.125
        expected.frequencyPenalty = 1
        expected.presencePenalty = -1
        expected.repetitionPenalty = 1.5
        expected.stopTokenIDs = [4]
        expected.ignoreEOS = true
        expected.logitBias = [9: -2]
        expected.seed = 77
        #expect(fixture.engine.state.withLock { $0.submitted[0].sampling } == expected)
    }

    @Test("batches answer in order; samples of one prompt stand side by side")
    func batch() async throws {
        let engine = ScriptedEngine { .events(.reply([$0.promptIDs[0] + 100], to: $0)) }
        let fixture = try Fixture(engine)
        let json = try await fixture.post(
            "/generate",
            """
            {"input_ids": [[1], [2], [3]], "rid": ["a", "b", "c"],
             "sampling_params": [{"n": 1}, {"n": 2, "sampling_seed": 5}, {}]}
            """)
        #expect(json.list.map { $0["output_ids"] } == [[101], [102], [102], [103]])
        #expect(json.list.map { $0["meta_info"]["id"].text } == ["a", "b_0", "b_1", "c"])
        #expect(engine.state.withLock { $0.submitted.map(\.sampling.seed) } == [nil, 5, 6, nil])
    }

    @Test("a list of one prompt is still a list")
    func batchOfOne() async throws {
        let json = try await fixture().post("/generate", #"{"text": ["Hello"], "rid": "x"}"#)
        #expect(json.list.count == 1)
        #expect(json[0]["meta_info"]["id"] == "x_0")
    }

    @Test("log-probabilities are triples; the first position of the prompt has none")
    func logprobs() async throws {
        let fixture = try fixture()
        let json = try await fixture.post(
            "/generate",
            """
            {"input_ids": [5, 6], "return_logprob": true, "logprob_start_len": 0, "top_logprobs_num": 2,
             "token_ids_logprob": [9], "return_text_in_logprobs": true}
            """)
        let meta = json["meta_info"]
        let word = { (id: Int32) in JSON.string(fixture.text.tokenizer.decode([id])) }
        #expect(meta["input_token_logprobs"] == [[nil, 5, word(5)], [-0.5, 6, word(6)]])
        #expect(meta["output_token_logprobs"][2] == [-0.5, 13, word(13)])
        #expect(meta["input_top_logprobs"] == [nil, [[-1, 0, word(0)], [-2, 1, word(1)]]])
        #expect(meta["output_top_logprobs"].list.count == 3)
        #expect(meta["input_token_ids_logprobs"] == [nil, [[-9, 9, word(9)]]])
        #expect(meta["output_token_ids_logprobs"][0] == [[-9, 9, word(9)]])
    }

    @Test("log-probabilities that were not asked for are absent, their texts null")
    func sparseLogprobs() async throws {
        let json = try await fixture().post("/generate", #"{"input_ids": [5], "return_logprob": true}"#)
        let meta = json["meta_info"]
        #expect(meta["input_token_logprobs"] == [])
        #expect(meta["output_token_logprobs"][0] == [-0.5, 11, nil])
        #expect(meta["output_top_logprobs"] == .missing)
        #expect(meta["output_token_ids_logprobs"] == .missing)
    }

    @Test("a stream is cumulative and ends with [DONE]")
    func stream() async throws {
        let fixture = try fixture()
        let reply = try await fixture.send(.post, "/generate", #"{"input_ids": [1], "stream": true}"#)
        #expect(reply.headers[.contentType]?.hasPrefix("text/event-stream") == true)
        let events = try reply.events
        var before = ""
        for event in events {
            #expect(event["text"].text.hasPrefix(before))
            #expect(event["index"] == .missing)
            before = event["text"].text
        }
        #expect(events.last?["output_ids"] == [11, 12, 13])
        #expect(events.last?["meta_info"]["finish_reason"]["type"] == "length")
        #expect(events.dropLast().allSatisfy { $0["meta_info"]["finish_reason"] == nil })
    }

    @Test("items of a streamed batch carry their index")
    func streamedBatch() async throws {
        let events = try await fixture().send(.post, "/generate", #"{"input_ids": [[1], [2]], "stream": true}"#).events
        let last = events.filter { $0["meta_info"]["finish_reason"] != nil }
        #expect(Set(last.map { $0["index"] == 0 ? 0 : 1 }) == [0, 1])
        #expect(events.allSatisfy { $0["index"] != .missing })
    }

    @Test(
        "a bad request is told which field is wrong",
        arguments: [
            (#"{"#, "not valid JSON"), ("[]", "JSON object"), ("", "empty"), ("{}", "text or input_ids"),
            (#"{"text": "a", "input_ids": [1]}"#, "one of them"), (#"{"text": 5}"#, "text"),
            (#"{"text": []}"#, "text is an empty list"), (#"{"input_ids": []}"#, "input_ids is empty"),
            (#"{"input_ids": ["a"]}"#, "input_ids holds text"), (#"{"text": [1]}"#, "text holds numbers"),
            (#"{"text": "a", "sampling_params": {"temperature": -1}}"#, "sampling_params.temperature is -1"),
            (#"{"text": "a", "sampling_params": {"temperature": "hot"}}"#, "sampling_params.temperature"),
            (#"{"text": "a", "sampling_params": {"top_p": 0}}"#, "sampling_params.top_p is 0"),
            (#"{"text": "a", "sampling_params": {"top_p": 1.5}}"#, "at most 1"),
            (#"{"text": "a", "sampling_params": {"top_k": 0}}"#, "sampling_params.top_k is 0"),
            (#"{"text": "a", "sampling_params": {"min_p": 2}}"#, "sampling_params.min_p is 2"),
            (#"{"text": "a", "sampling_params": {"max_new_tokens": -1}}"#, "0 or more"),
            (#"{"text": "a", "sampling_params": {"max_new_tokens": 3, "min_new_tokens": 4}}"#, "0 to the 3 tokens"),
            (#"{"text": "a", "sampling_params": {"frequency_penalty": 3}}"#, "-2 to 2"),
            (#"{"text": "a", "sampling_params": {"repetition_penalty": -0.5}}"#, "repetition_penalty is -0.5"),
            (#"{"text": "a", "sampling_params": {"n": 0}}"#, "from 1 to 128"),
            (#"{"text": "a", "sampling_params": {"stop_token_ids": [8192]}}"#, "0 to 8191"),
            (#"{"text": "a", "sampling_params": {"logit_bias": {"x": 1}}}"#, "sampling_params.logit_bias"),
            (#"{"text": "a", "sampling_params": [{}, {}]}"#, "2 entries for 1"),
            (#"{"text": "a", "sampling_params": {"json_schema": "{}"}}"#, "sampling_params.json_schema is not"),
            (#"{"text": "a", "sampling_params": {"stop": "\#(String(repeating: "x", count: 600))"}}"#, "600 bytes"),
            (#"{"input_ids": [\#(String(repeating: "[1], ", count: 5000))[1]]}"#, "5001 generations"),
            (#"{"text": "a", "image_data": "x"}"#, "image_data is not supported"),
            (#"{"text": "a", "lora_path": ["x"]}"#, "lora_path is not supported"),
            (#"{"text": "a", "return_hidden_states": true}"#, "return_hidden_states is not supported"),
            (#"{"input_embeds": [[0.5]]}"#, "input_embeds is not supported"),
            (#"{"text": "a", "return_logprob": true, "top_logprobs_num": -1}"#, "top_logprobs_num is -1"),
            (#"{"text": "a", "return_logprob": true, "token_ids_logprob": [9000]}"#, "token_ids_logprob holds 9000"),
            (#"{"input_ids": [1], "return_logprob": true, "logprob_start_len": 2}"#, "logprob_start_len is 2"),
            (#"{"input_ids": [3000000000]}"#, "input_ids"),
        ])
    func validation(body: String, message: String) async throws {
        let fixture = try fixture()
        let reply = try await fixture.send(.post, "/generate", body)
        #expect(reply.status == 400)
        let found = try reply.json["error"]["message"].text
        #expect(found.contains(message), "\(found)")
        #expect(fixture.engine.state.withLock { $0.submitted.isEmpty })
    }

    @Test(
        "the engine's refusals become status codes",
        arguments: [
            (EngineError.queueFull(limit: 4), 503), (.shuttingDown, 503), (.emptyPrompt, 400),
            (.promptTooLong(tokens: 9, limit: 8), 400), (.invalidSampling("top_k is odd"), 400),
        ])
    func refusals(error: EngineError, status: Int) async throws {
        let fixture = try Fixture(ScriptedEngine { _ in .refused(error) })
        let reply = try await fixture.send(.post, "/generate", #"{"input_ids": [1], "stream": true}"#)
        #expect(reply.status == status)
        #expect(try reply.json["error"]["message"].text == error.description)
        #expect((reply.headers[.retryAfter] != nil) == (status == 503))
    }

    @Test("a request that the engine ends is an abort, not an error")
    func aborted() async throws {
        let fixture = try Fixture(ScriptedEngine(replying: [11], finish: .aborted(message: "out of luck")))
        let reason = try await fixture.post("/generate", #"{"input_ids": [1]}"#)["meta_info"]["finish_reason"]
        #expect(reason.keys == ["type", "message", "status_code", "err_type"])
        #expect(reason["type"] == "abort")
        #expect(reason["message"] == "out of luck")
    }
}
