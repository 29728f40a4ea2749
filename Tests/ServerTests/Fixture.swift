// Fixture: a server in front of a scripted engine, with the demo model's tokenizer; and short ways to ask it.

import DemoModel
import Engine
import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import Logging
import Models
import Text

@testable import Server

/// A server in front of a scripted engine.
struct Fixture {
    let engine: ScriptedEngine
    let text: ModelText
    let server: SwitchyardServer

    /// Token ids of `text` in the demo model's vocabulary.
    static func ids(_ text: String) throws -> [Int32] { try demo.get().tokenizer.encode(text) }

    /// Read once: a debug build takes a moment for it.
    static let demo = Result { try ModelText(files: .demo) }

    init(_ engine: ScriptedEngine, change: (inout ServerSettings) -> Void = { _ in }) throws {
        self.engine = engine
        text = try Self.demo.get()
        var settings = ServerSettings(modelPath: "folder/demo", servedModelName: "demo/model")
        settings.healthTimeout = .seconds(60)
        settings.port = 0
        change(&settings)
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        server = SwitchyardServer(
            engine: engine, generator: TextGenerator(engine: engine, text: text), settings: settings, logger: logger)
    }

    /// One request to the routes, without a socket.
    func send(
        _ method: HTTPRequest.Method, _ path: String, _ body: String? = nil, headers: HTTPFields = [:]
    ) async throws -> Reply {
        try await server.makeApplication().reply(method, to: path, body, headers: headers)
    }

    /// The JSON reply to a POST.
    func post(_ path: String, _ body: String) async throws -> JSON { try await send(.post, path, body).json }
}

extension Application where Responder == RouterResponder<ServerContext> {
    /// The reply of the routes, without a socket.
    func reply(
        _ method: HTTPRequest.Method = .post, to path: String, _ body: String?, headers: HTTPFields = [:]
    ) async throws -> Reply {
        try await test(.router) { client in
            try await client.execute(
                uri: path, method: method, headers: headers, body: body.map { ByteBuffer(string: $0) }
            ) { Reply(status: Int($0.status.code), headers: $0.headers, text: String(buffer: $0.body)) }
        }
    }
}

/// What came back.
struct Reply: Sendable {
    var status: Int
    var headers: HTTPFields
    var text: String

    var json: JSON { get throws { try JSON(text) } }

    /// The payloads of a well-formed event stream, `[DONE]` left out; fails when that is not the last.
    var events: [JSON] {
        get throws {
            struct BadStream: Error { var text: String }
            let blocks = text.components(separatedBy: "\n\n")
            guard blocks.suffix(2) == ["data: [DONE]", ""], blocks.dropLast().allSatisfy({ $0.hasPrefix("data: ") })
            else { throw BadStream(text: text) }
            return try blocks.dropLast(2).map { try JSON(String($0.dropFirst(6))) }
        }
    }
}
