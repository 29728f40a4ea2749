import Engine
import HTTPTypes
import Synchronization
import Testing
import Text

@testable import Server

@Suite struct ControlRouteTests {
    private func fixture(_ change: (inout ServerSettings) -> Void = { _ in }) throws -> Fixture {
        try Fixture(ScriptedEngine(replying: [11]), change: change)
    }

    @Test(
        "the recorder is controlled with GET and POST",
        arguments: [
            ("start", "Start recording the expert distribution.\n"),
            ("stop", "Stop recording the expert distribution.\n"), ("dump", "Dump expert distribution record.\n"),
        ], ["GET", "POST"])
    func recorder(call: (name: String, text: String), method: String) async throws {
        let fixture = try fixture()
        let method = try #require(HTTPRequest.Method(rawValue: method))
        let reply = try await fixture.send(method, "/\(call.name)_expert_distribution_record")
        #expect(reply.status == 200)
        #expect(reply.text == call.text)
        #expect(fixture.engine.state.withLock { $0.calls } == [call.name])
        let header = try #require(HTTPField.Name("x-expert-distribution-file"))
        #expect(reply.headers[header] == (call.name == "dump" ? "/records/one.pt" : nil))
    }

    @Test("a dump answers in JSON to those who accept it")
    func dumpAsJSON() async throws {
        let reply = try await fixture().send(
            .post, "/dump_expert_distribution_record", headers: [.accept: "application/json"])
        #expect(try reply.json["path"] == "/records/one.pt")
    }

    @Test("a recorder that is off is 400 and names the flag", arguments: ["start", "stop", "dump"])
    func recorderOff(call: String) async throws {
        let fixture = try fixture()
        fixture.engine.state.withLock { $0.isRecorderOff = true }
        let reply = try await fixture.send(.post, "/\(call)_expert_distribution_record")
        #expect(reply.status == 400)
        #expect(try reply.json["error"]["message"].text.contains("--expert-distribution-recorder-mode stat"))
    }

    @Test("health asks the engine, and computes nothing")
    func health() async throws {
        let fixture = try fixture()
        #expect(try await fixture.send(.get, "/health").status == 200)
        #expect(fixture.engine.state.withLock { $0.submitted.isEmpty })
    }

    @Test("health_generate asks the engine for a token")
    func healthGenerate() async throws {
        let fixture = try fixture()
        #expect(try await fixture.send(.get, "/health_generate").status == 200)
        let probe = try #require(fixture.engine.state.withLock { $0.submitted.first })
        #expect(probe.promptIDs == [0])
        #expect(probe.sampling.maxNewTokens == 1)
        #expect(probe.sampling.isGreedy)
        #expect(probe.priority == Int(Int32.min))
    }

    @Test("an engine that says nothing, or has no place for the question, is not healthy", arguments: [false, true])
    func unhealthy(isDisplaced: Bool) async throws {
        let engine = ScriptedEngine { _ in isDisplaced ? .events([.finished(.refused(.displaced))]) : .hanging([]) }
        let fixture = try Fixture(engine) { $0.healthTimeout = .milliseconds(300) }
        #expect(try await fixture.send(.get, "/health_generate").status == 503)
        try await eventually { engine.state.withLock { $0.stopped } == (isDisplaced ? 0 : 1) }
    }

    @Test("a full queue is healthy as long as the engine computes")
    func busy() async throws {
        let engine = ScriptedEngine { _ in .refused(.queueFull(limit: 1)) }
        let fixture = try Fixture(engine)
        async let reply = fixture.send(.get, "/health_generate")
        try await eventually {
            engine.state.withLock { $0.statistics.passesTotal += 1 }
            return engine.state.withLock { $0.submitted.count } == 1
        }
        let counting = Task {
            while !Task.isCancelled {
                engine.state.withLock { $0.statistics.passesTotal += 1 }
                try await Task.sleep(for: .milliseconds(20))
            }
        }
        #expect(try await reply.status == 200)
        counting.cancel()
    }

    @Test("ready without asking the engine")
    func ready() async throws {
        #expect(try await fixture().send(.get, "/ready").status == 200)
    }

    @Test("model information under both names", arguments: ["/get_model_info", "/model_info"])
    func modelInfo(path: String) async throws {
        let json = try await fixture().send(.get, path).json
        #expect(json["model_path"] == "folder/demo")
        #expect(json["tokenizer_path"] == "folder/demo")
        #expect(json["is_generation"] == true)
        #expect(json["served_model_name"] == "demo/model")
        #expect(json["model_type"] == "qwen2_moe")
        #expect(json["architectures"] == ["Qwen2MoeForCausalLM"])
    }

    @Test("server information holds all arguments at the top", arguments: ["/get_server_info", "/server_info"])
    func serverInfo(path: String) async throws {
        let fixture = try fixture {
            $0.arguments = ["tp_size": .int(1), "device": .string("auto")]
            $0.version = "9"
            $0.apiKey = nil
        }
        fixture.engine.state.withLock {
            $0.statistics.maxTotalTokens = 640
            $0.statistics.contextLength = 64
            $0.statistics.generationThroughput = 2.5
        }
        let json = try await fixture.send(.get, path).json
        #expect(json["tp_size"] == 1)
        #expect(json["device"] == "auto")
        #expect(json["version"] == "9")
        #expect(json["max_total_num_tokens"] == 640)
        #expect(json["max_req_input_len"] == 63)
        #expect(json["internal_states"][0]["last_gen_throughput"] == 2.5)
        #expect(json["internal_states"][0]["memory_usage"]["weight"] == 1.5)
        #expect(json["internal_states"][0]["memory_usage"]["kvcache"] == 0.25)
    }

    @Test("the cache is flushed only when nothing runs")
    func flush() async throws {
        let fixture = try fixture()
        let reply = try await fixture.send(.post, "/flush_cache")
        #expect(reply.status == 200)
        #expect(reply.text.hasPrefix("Cache flushed."))
        fixture.engine.state.withLock { $0.statistics.runningRequests = 1 }
        #expect(try await fixture.send(.get, "/flush_cache").status == 400)
        #expect(try await fixture.send(.get, "/flush_cache?timeout=soon").status == 400)
        async let patient = fixture.send(.post, "/flush_cache?timeout=60")
        try await eventually { fixture.engine.state.withLock { $0.calls.count { $0 == "flush" } } > 3 }
        fixture.engine.state.withLock { $0.statistics.runningRequests = 0 }
        #expect(try await patient.status == 200)
    }

    @Test("aborting ends a request by name, a batch by its common name, or all")
    func abort() async throws {
        let engine = ScriptedEngine { _ in .hanging([.prompt(cachedTokens: 0, logprobs: [])]) }
        let fixture = try Fixture(engine)
        async let one = fixture.post("/generate", #"{"input_ids": [1], "rid": "one"}"#)
        async let batch = fixture.post("/generate", #"{"input_ids": [[1], [2]], "rid": "many"}"#)
        async let other = fixture.post("/generate", #"{"input_ids": [1], "rid": "other"}"#)
        try await eventually { engine.state.withLock { $0.open.count } == 4 }
        try await Task.sleep(for: .milliseconds(50))
        #expect(try await fixture.send(.post, "/abort_request", #"{"rid": "unknown"}"#).status == 200)
        #expect(try await fixture.send(.post, "/abort_request", #"{"rid": "one"}"#).text == "")
        #expect(try await one["meta_info"]["finish_reason"]["type"] == "abort")
        #expect(try await fixture.send(.post, "/abort_request", #"{"rid": "many"}"#).status == 200)
        #expect(try await batch.list.allSatisfy { $0["meta_info"]["finish_reason"]["type"] == "abort" })
        #expect(engine.state.withLock { $0.open.count } == 1)
        #expect(try await fixture.send(.post, "/abort_request", #"{"abort_all": true}"#).status == 200)
        #expect(try await other["meta_info"]["finish_reason"]["type"] == "abort")
        #expect(try await fixture.send(.post, "/abort_request", "{}").status == 400)
    }

    @Test("what is out of scope says so", arguments: ["/encode", "/v1/embeddings", "/update_weights_from_disk"])
    func outOfScope(path: String) async throws {
        let reply = try await fixture().send(.post, path, "{}")
        #expect(reply.status == 501)
        #expect(try reply.json["error"]["message"].text.contains(path))
    }

    @Test("unknown paths are 404 in JSON")
    func unknown() async throws {
        let reply = try await fixture().send(.get, "/nowhere")
        #expect(reply.status == 404)
        #expect(try reply.json["error"]["message"].text.contains("/nowhere"))
    }

    @Test("with a key, only health is open")
    func apiKey() async throws {
        let fixture = try fixture { $0.apiKey = "secret" }
        let refused = try await fixture.send(.get, "/v1/models")
        #expect(refused.status == 401)
        #expect(try refused.json["error"] == "Unauthorized")
        #expect(try await fixture.send(.get, "/nowhere").status == 401)
        #expect(try await fixture.send(.get, "/v1/models", headers: [.authorization: "Bearer secreT"]).status == 401)
        #expect(try await fixture.send(.get, "/v1/models", headers: [.authorization: "Bearer secret"]).status == 200)
        #expect(try await fixture.send(.get, "/health").status == 200)
    }
}
