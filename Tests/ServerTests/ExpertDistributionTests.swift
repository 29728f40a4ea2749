// What the server says about the expert distribution: the report, the metrics, and the experts of single requests.

import Engine
import Experts
import Foundation
import HTTPTypes
import Synchronization
import Testing

@testable import Server

@Suite struct ExpertDistributionTests {
    /// A status of two layers with three experts, one pass of four tokens, K = 1.
    private func status() throws -> RecordingStatus {
        let placement = try Placement.trivial(layers: 2, logicalExperts: 3)
        let recorder = Recorder(
            layers: 2, logicalExperts: 3, physicalExperts: 3, topK: 1, settings: RecorderSettings(capacity: .passes(8)))
        recorder.start()
        var pass = PassCounts(placement: placement)
        pass.begin(pass: 1, mode: .decode, tokens: 4, placement: placement)
        pass.withMutableCounts { counts in
            for (index, count) in [4, 0, 0, 1, 1, 2].enumerated() { counts[index] = Int32(count) }
        }
        recorder.append(pass)
        var status = RecordingStatus(snapshot: recorder.snapshot())
        status.isRecording = true
        status.since = Date(timeIntervalSince1970: 1000)
        status.lastDump = "/records/one.pt"
        status.recordingSeconds = 1
        status.passSeconds = 200
        return status
    }

    private func fixture(_ status: RecordingStatus?) throws -> Fixture {
        let fixture = try Fixture(ScriptedEngine(replying: [11]))
        fixture.engine.state.withLock { $0.recording = status }
        return fixture
    }

    @Test("the report says what is recorded, since when, how much, and what it costs")
    func report() async throws {
        let reply = try await fixture(status()).send(.get, "/expert_distribution").json
        let wanted: [(String, JSON)] = [
            ("is_recording", true), ("mode", "stat"), ("since", 1000), ("passes", 1), ("tokens", 4),
            ("kept_passes", 1), ("dropped_passes", 0), ("dropped_tokens", 0), ("buffer_size", 8), ("layers", 2),
            ("logical_experts", 3), ("top_k", 1),
        ]
        for (name, value) in wanted { #expect(reply[name] == value, "\(name)") }
        #expect(reply["last_dump"] == "/records/one.pt")
        #expect(reply["balancedness"][1]["layer"] == 1)
        #expect(reply["balancedness"][0]["last_10"] == 1)
        #expect(reply["cost"]["share"] == 0.005)
    }

    @Test("a recorder that is off says so, and its stream is refused")
    func off() async throws {
        let fixture = try fixture(nil)
        let reply = try await fixture.send(.get, "/expert_distribution").json
        #expect(reply["is_recording"] == false)
        #expect(reply["mode"] == "off")
        #expect(try await fixture.send(.get, "/expert_distribution/stream").status == 400)
    }

    @Test("metrics are Prometheus text with sglang's names and per-layer expert series, without a key")
    func metrics() async throws {
        let fixture = try Fixture(ScriptedEngine(replying: [11, 12])) { $0.apiKey = "secret" }
        let status = try status()
        fixture.engine.state.withLock {
            $0.recording = status
            $0.statistics.runningRequests = 3
            $0.statistics.promptTokensTotal = 70
        }
        let reply = try await fixture.send(.get, "/metrics")
        #expect(reply.status == 200)
        #expect(reply.headers[.contentType]?.hasPrefix("text/plain; version=0.0.4") == true)
        let lines = Set(reply.text.split(separator: "\n").map(String.init))
        let labels = #"model_name="demo/model",engine_type="unified""#
        for line in [
            "sglang:num_running_reqs{\(labels)} 3", "sglang:prompt_tokens_total{\(labels)} 70",
            "# TYPE sglang:time_to_first_token_seconds histogram",
            "sglang:e2e_request_latency_seconds_bucket{\(labels),le=\"+Inf\"} 0",
            "switchyard:expert_top1_share{\(labels),layer=\"1\"} 0.5",
            "switchyard:experts_active{\(labels),layer=\"0\"} 1", "switchyard:expert_recording_cost{\(labels)} 0.005",
            "sglang:eplb_balancedness_count{\(labels),forward_mode=\"decode\"} 1",
            "sglang:eplb_balancedness_sum{\(labels),forward_mode=\"decode\"} 1",
        ] {
            #expect(lines.contains(line), "\(line)")
        }
        // Every sample follows the type of its family.
        var family = ""
        for line in reply.text.split(separator: "\n") {
            if line.hasPrefix("# TYPE ") { family = String(line.split(separator: " ")[2]) }
            #expect(line.hasPrefix("#") || line.hasPrefix(family))
        }
    }

    @Test("the stream sends the counts when they change, and ends when recording does")
    func stream() async throws {
        let first = try status()
        var second = first
        second.period = 1  // as many passes again after a dump
        let fixture = try fixture(nil)
        // The first question is whether there is anything to stream.
        fixture.engine.state.withLock { $0.recordings = [first, first, first, second, second, nil] }
        let reply = try await fixture.send(.get, "/expert_distribution/stream")
        #expect(reply.headers[.contentType]?.hasPrefix("text/event-stream") == true)
        let events = try reply.text.components(separatedBy: "\n\n").dropLast().map { try JSON(String($0.dropFirst(6))) }
        #expect(events.count == 2)
        for event in events {
            #expect(event["passes"] == 1 && event["tokens"] == 4)
            #expect(event["counts"] == [[4, 0, 0], [1, 1, 2]])
        }
    }

    @Test("the line of the log has sglang's fields in their order")
    func logLine() throws {
        #expect(
            BalancednessLog.line(try status())
                == "[Expert Balancedness] forward_pass_id=1 current_pass_balancedness=1.000 "
                + "last_10_average_balancedness=1.000 last_100_average_balancedness=1.000 "
                + "last_1000_average_balancedness=1.000 gpu_physical_count_sum=8")
        var empty = try status()
        empty = RecordingStatus(
            snapshot: Recorder(
                layers: 2, logicalExperts: 3, physicalExperts: 3, topK: 1, settings: RecorderSettings()
            ).snapshot())
        #expect(BalancednessLog.line(empty) == nil)
    }

    @Test("requests fill the histograms")
    func histograms() async throws {
        let fixture = try Fixture(ScriptedEngine(replying: [11, 12, 13]))
        _ = try await fixture.post("/generate", #"{"input_ids": [1], "sampling_params": {}}"#)
        let text = try await fixture.send(.get, "/metrics").text
        func value(_ name: String) -> String? {
            text.split(separator: "\n").first { $0.hasPrefix(name + "{") }?.split(separator: " ").last.map(String.init)
        }
        #expect(value("sglang:time_to_first_token_seconds_count") == "1")
        #expect(value("sglang:inter_token_latency_seconds_count") == "2")
        #expect(value("sglang:e2e_request_latency_seconds_count") == "1")
    }

    @Test(
        "the experts of a request come as base64, wide or compact",
        arguments: [("true", "int32"), ("\"int32\"", "int32"), ("\"compact\"", "uint8")])
    func routedExperts(asked: String, type: String) async throws {
        let engine = ScriptedEngine { request in
            let experts = RoutedExperts(tokens: 2, layers: 1, topK: 2, ids: [3, 1, 0, 200])
            var events = [GenerationEvent].reply([11], to: request)
            if request.routedExpertsStart == 1 { events.insert(.routedExperts(experts), at: events.count - 1) }
            return .events(events)
        }
        let body = """
            {"input_ids": [1, 2], "return_routed_experts": \(asked), "routed_experts_start_len": 1}
            """
        let meta = try await Fixture(engine).post("/generate", body)["meta_info"]
        #expect(meta["routed_experts_dtype"] == .string(type))
        #expect(meta["routed_experts_shape"][1] == 1)
        // The engine was one token further than the text: prompt 2 + output 1 - 1 - start 1 = 1 row.
        #expect(meta["routed_experts_shape"][0] == 1)
        let bytes = try #require(Data(base64Encoded: meta["routed_experts"].text))
        #expect(Array(bytes) == (type == "int32" ? [3, 0, 0, 0, 1, 0, 0, 0] : [3, 1]))
    }

    @Test("without asking, or with a wrong form, there are none")
    func routedExpertsRefused() async throws {
        let fixture = try fixture(nil)
        let reply = try await fixture.post("/generate", #"{"input_ids": [1], "return_routed_experts": false}"#)
        #expect(reply["meta_info"]["routed_experts"] == .missing)
        let wrong = try await fixture.send(
            .post, "/generate", #"{"input_ids": [1], "return_routed_experts": "wide"}"#)
        #expect(wrong.status == 400 && wrong.text.contains("return_routed_experts"))
    }
}
