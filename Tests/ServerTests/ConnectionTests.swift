import Engine
import HTTPTypes
import NIOCore
import NIOEmbedded
import Synchronization
import Testing

@testable import Server

/// What has to do with who asks and how, rather than with what is asked.
@Suite struct ConnectionTests {
    private func fixture(_ change: (inout ServerSettings) -> Void = { _ in }) throws -> Fixture {
        try Fixture(ScriptedEngine(replying: [11]), change: change)
    }

    @Test("pages of any origin may ask, errors and refusals too", arguments: ["/ready", "/nowhere", "/v1/models"])
    func origin(path: String) async throws {
        let reply = try await fixture { $0.apiKey = "secret" }.send(.get, path, headers: [.origin: "http://a.test"])
        #expect(reply.headers[.accessControlAllowOrigin] == "*")
        #expect(reply.headers[.accessControlExposeHeaders]?.contains("x-expert-distribution-file") == true)
        #expect(try await fixture().send(.get, path).headers[.accessControlAllowOrigin] == nil)
    }

    @Test("a preflight request is answered without a key")
    func preflight() async throws {
        let reply = try await fixture { $0.apiKey = "secret" }.send(
            .options, "/v1/chat/completions",
            headers: [
                .origin: "http://a.test", .accessControlRequestMethod: "POST",
                .accessControlRequestHeaders: "authorization,content-type,x-stainless-os",
            ])
        #expect(reply.status == 204)
        #expect(reply.headers[.accessControlAllowOrigin] == "*")
        #expect(reply.headers[.accessControlAllowHeaders] == "authorization,content-type,x-stainless-os")
        #expect(reply.headers[.accessControlAllowMethods]?.contains("POST") == true)
    }

    @Test("a body over the limit is 413 and ends the connection, announced or not")
    func tooLarge() async throws {
        let fixture = try fixture { $0.limits.bodyBytes = 1000 }
        let reply = try await fixture.send(.post, "/generate", String(repeating: " ", count: 1001))
        #expect(reply.status == 413)
        #expect(reply.headers[.connection] == "close")
        #expect(try reply.json["error"]["message"].text.contains("1000 bytes"))
    }

    /// Bodies that no JSON reader likes.
    private static let hostileBodies: [String] = [
        String(repeating: "[", count: 200_000), String(repeating: "{\"a\":", count: 100_000),
        #"{"text": "# + String(repeating: "[", count: 5000) + String(repeating: "]", count: 5000) + "}",
        #"{"messages": "# + String(repeating: "[", count: 5000) + String(repeating: "]", count: 5000) + "}",
        #"{"prompt": "\ud800"}"#, #"{"text": "a", "sampling_params": {"temperature": 1e999}}"#,
        #"{"prompt": "a", "seed": 99999999999999999999}"#, "null", "1", "\u{FEFF}{}x", "{\"text\": \"\u{0}\"}",
        #"{"text": "a"} {"text": "b"}"#,
    ]

    @Test("a model's name that every chunk would repeat has a limit", arguments: ["", "chat/"])
    func longModelName(chat: String) async throws {
        let rest = #""prompt": "a", "messages": [{"role": "user", "content": "a"}]"#
        for (length, status) in [(4096, 200), (4097, 400)] {
            let body = "{\"model\": \"\(String(repeating: "m", count: length))\", \(rest)}"
            #expect(try await fixture().send(.post, "/v1/\(chat)completions", body).status == status)
        }
    }

    @Test(
        "hostile bodies are 400", arguments: hostileBodies.indices,
        ["/generate", "/v1/completions", "/v1/chat/completions"])
    func hostile(index: Int, path: String) async throws {
        let reply = try await fixture().send(.post, path, Self.hostileBodies[index])
        #expect(reply.status == 400, "\(reply)")
        #expect(try !reply.json["error"]["message"].text.isEmpty)
    }

    @Test("bytes that are no UTF-8 are 400", arguments: ["/generate", "/v1/completions", "/v1/chat/completions"])
    func notText(path: String) throws {
        for bad: [UInt8] in [[0xFF], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xF5, 0x80, 0x80, 0x80], [0xE2, 0x82]] {
            var body = ByteBuffer(string: #"{"text": "a"#)
            body.writeBytes(bad)
            body.writeString(#"", "prompt": "a"}"#)
            #expect(throws: (any Error).self) { try body.decodeJSON(GenerateRequest.self) }
            #expect(throws: (any Error).self) { try body.decodeJSON(CompletionRequest.self) }
            #expect(throws: (any Error).self) { try ChatRequest(body) }
        }
    }

    @Test("a constraint on the output is refused by name", arguments: ["json_schema", "regex", "ebnf", "guided_json"])
    func constraints(field: String) async throws {
        let fixture = try fixture()
        let native = try await fixture.send(
            .post, "/generate", #"{"text": "a", "sampling_params": {"\#(field)": "x"}}"#)
        #expect(native.status == 400 && native.text.contains("sampling_params.\(field) is not supported"))
        let openAI = try await fixture.send(.post, "/v1/completions", #"{"prompt": "a", "\#(field)": "x"}"#)
        #expect(openAI.status == 400)
        #expect(try openAI.json["error"]["param"].text == field)
    }

    @Test("the experts of the first choice come as sglext, in a stream before the usage", arguments: ["", "chat/"])
    func routedExperts(chat: String) async throws {
        let engine = ScriptedEngine { request in
            var events = [GenerationEvent].reply([11, 12], to: request)
            if let start = request.routedExpertsStart {
                let rows = request.promptIDs.count + 1 - start
                let experts = RoutedExperts(
                    tokens: rows, layers: 1, topK: 2, ids: (0..<Int32(2 * rows)).map { $0 % 4 })
                events.insert(.routedExperts(experts), at: events.count - 1)
            }
            return .events(events)
        }
        let fixture = try Fixture(engine)
        let path = "/v1/\(chat)completions"
        let asked = #""prompt": "a", "messages": [{"role": "user", "content": "a"}], "n": 2"#
        let none = try await fixture.post(path, "{\(asked)}")
        #expect(none["sglext"] == .missing)
        let body = #"{\#(asked), "return_routed_experts": true, "routed_experts_start_len": 1}"#
        let whole = try await fixture.post(path, body)["sglext"]
        #expect(whole["routed_experts_dtype"] == "int32")
        #expect(!whole["routed_experts"].text.isEmpty)
        let events = try await fixture.send(
            .post, path, body.dropLast() + #", "stream": true, "stream_options": {"include_usage": true}}"#
        ).events
        #expect(events.last?["sglext"] == .missing && events.last?["usage"] != nil)
        #expect(events[events.count - 2]["sglext"] == whole && events[events.count - 2]["choices"] == [])
        #expect(events.filter { $0["sglext"] != .missing }.count == 1)
    }

    @Test("a connection whose client reads nothing is closed, one that reads slowly is not")
    func stalled() throws {
        let channel = EmbeddedChannel(handler: StallGuard(limit: .seconds(10)))
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
        for _ in 0..<3 { channel.write(ByteBuffer(repeating: 0, count: 100), promise: nil) }
        channel.isWritable = false
        channel.pipeline.fireChannelWritabilityChanged()
        channel.embeddedEventLoop.advanceTime(by: .seconds(11))
        #expect(channel.isActive)
        channel.isWritable = true
        channel.pipeline.fireChannelWritabilityChanged()
        channel.embeddedEventLoop.advanceTime(by: .seconds(100))
        #expect(channel.isActive)
        channel.isWritable = false
        channel.pipeline.fireChannelWritabilityChanged()
        channel.embeddedEventLoop.advanceTime(by: .seconds(21))
        #expect(!channel.isActive)
    }
}
