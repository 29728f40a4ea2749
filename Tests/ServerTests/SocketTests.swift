import DemoModel
import Engine
import Foundation
import Logging
import Models
import ServiceLifecycle
import Synchronization
import Testing
import Text

@testable import Server

/// The only tests with real connections: what depends on a client that goes away or a server that stops.
@Suite struct SocketTests {
    /// Runs a server on a free port while `body` runs, then stops it.
    private func withServer(
        _ engine: ScriptedEngine, change: (inout ServerSettings) -> Void = { _ in },
        _ body: @Sendable (Int) async throws -> Void
    ) async throws {
        let text = try Fixture.demo.get()
        var settings = ServerSettings(modelPath: "demo", servedModelName: "demo")
        settings.port = 0
        change(&settings)
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let (ports, listening) = AsyncStream.makeStream(of: Int.self)
        let server = SwitchyardServer(
            engine: engine, generator: TextGenerator(engine: engine, text: text), settings: settings, logger: logger
        ) { _, port in listening.yield(port) }
        let group = ServiceGroup(services: [server], logger: logger)
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            let port = try #require(await ports.first { _ in true })
            do {
                try await body(port)
            } catch {
                await group.triggerGracefulShutdown()
                throw error
            }
            await group.triggerGracefulShutdown()
            try await tasks.waitForAll()
        }
    }

    @Test("a client that hangs up frees its place", .timeLimit(.minutes(1)), arguments: [false, true])
    func hangUp(stream: Bool) async throws {
        let engine = ScriptedEngine { _ in
            .hanging([.prompt(cachedTokens: 0, logprobs: []), .token(id: 11, logprobs: nil)])
        }
        try await withServer(engine) { port in
            let client = try RawClient(port: port)
            client.send(body: #"{"input_ids": [[1], [2]], "stream": \#(stream)}"#)
            try await eventually { engine.state.withLock { $0.open.count } == 2 }
            #expect(engine.state.withLock { $0.stopped } == 0)
            client.close()
            try await eventually { engine.state.withLock { $0.stopped } == 2 }
        }
    }

    @Test("a connection serves several requests", .timeLimit(.minutes(1)))
    func keepAlive() async throws {
        try await withServer(ScriptedEngine(replying: [11])) { port in
            let client = try RawClient(port: port)
            defer { client.close() }
            for stream in [false, true, false] {
                client.send(body: #"{"input_ids": [1], "stream": \#(stream)}"#)
                let reply = try await offPool { client.read(until: stream ? "0\r\n\r\n" : "}}") }
                #expect(reply.hasPrefix("HTTP/1.1 200"), "\(reply)")
            }
        }
    }

    @Test(
        "an event holds everything so far, or what is new if the operator asks", .timeLimit(.minutes(1)),
        arguments: [false, true])
    func incremental(isIncremental: Bool) async throws {
        let ids = try Fixture.ids("one two three")
        let tokenizer = try Fixture.demo.get().tokenizer
        let engine = ScriptedEngine { _ in .hanging([]) }
        let change: (inout ServerSettings) -> Void = { $0.streamsIncrementally = isIncremental }
        try await withServer(engine, change: change) { port in
            let client = try RawClient(port: port)
            defer { client.close() }
            client.send(body: #"{"input_ids": [1], "rid": "a", "stream": true}"#)
            try await eventually { engine.state.withLock { $0.open["a"] } != nil }
            for count in 1...ids.count {
                engine.state.withLock { $0.open["a"] }?.send(.token(id: ids[count - 1], logprobs: nil))
                let text = try await offPool { client.read(until: "}}\n\n") }
                let event = try #require(text.components(separatedBy: "data: ").last?.components(separatedBy: "\n\n"))
                let json = try JSON(event[0])
                let known = isIncremental ? count - 1..<count : 0..<count
                #expect(json["output_ids"] == .array(ids[known].map { .number(Double($0)) }))
                #expect(json["text"].text == tokenizer.decode(ids[known]))
                #expect(json["meta_info"]["completion_tokens"] == .number(Double(count)))
            }
        }
    }

    @Test("a body that does not come is 408, and its connection is closed", .timeLimit(.minutes(1)))
    func slowBody() async throws {
        let impatient: (inout ServerSettings) -> Void = { $0.limits.patience = .seconds(1) }
        try await withServer(ScriptedEngine(replying: [11]), change: impatient) { port in
            let client = try RawClient(port: port)
            defer { client.close() }
            client.send("POST /generate HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\n{")
            let reply = try await offPool { client.readToEnd() }
            #expect(reply.hasPrefix("HTTP/1.1 408"), "\(reply)")
        }
    }

    @Test("a body that ends too early is the client's fault", .timeLimit(.minutes(1)))
    func halfBody() async throws {
        try await withServer(ScriptedEngine(replying: [11])) { port in
            let client = try RawClient(port: port)
            defer { client.close() }
            client.send("POST /generate HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\n{")
            client.endSending()
            let reply = try await offPool { client.readToEnd() }
            #expect(reply.hasPrefix("HTTP/1.1 400"), "\(reply)")
            #expect(reply.contains("too early"))
        }
    }

    @Test(
        "a connection on which nothing happens is closed", .timeLimit(.minutes(1)),
        arguments: ["", "GET /health HT", "GET /ready HTTP/1.1\r\nHost: test\r\n\r\n"])
    func idle(beginning: String) async throws {
        let impatient: (inout ServerSettings) -> Void = { $0.limits.idleness = .seconds(1) }
        try await withServer(ScriptedEngine(replying: [11]), change: impatient) { port in
            let client = try RawClient(port: port)
            defer { client.close() }
            client.send(beginning)
            let reply = try await offPool { client.readToEnd() }
            #expect(reply.hasPrefix("HTTP/1.1 200") == beginning.contains("Host"), "\(reply)")
        }
    }

    @Test(
        "what is no HTTP is 400, and the server lives on", .timeLimit(.minutes(1)),
        arguments: [
            "\u{16}\u{3}\u{1} hello\r\n\r\n", "GET /health SPDY/9\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        ])
    func notHTTP(text: String) async throws {
        try await withServer(ScriptedEngine(replying: [11])) { port in
            let bad = try RawClient(port: port)
            defer { bad.close() }
            bad.send(text)
            #expect(try await offPool { bad.read(until: "\r\n\r\n") }.hasPrefix("HTTP/1.1 400"))
            let good = try RawClient(port: port)
            defer { good.close() }
            good.send("GET /ready HTTP/1.1\r\nHost: test\r\n\r\n")
            #expect(try await offPool { good.read(until: "\r\n\r\n") }.hasPrefix("HTTP/1.1 200"))
        }
    }

    @Test("a client that reads nothing of its reply frees its place", .timeLimit(.minutes(5)))
    func stalled() async throws {
        // The first reply, of 22 MB, is more than the sockets' buffers hold; behind it waits a request that has no end.
        let engine = ScriptedEngine { request in
            let experts = RoutedExperts(tokens: 1, layers: 1, topK: 1 << 22, ids: Array(repeating: 1, count: 1 << 22))
            return request.promptIDs.count == 2
                ? .events([.token(id: 11, logprobs: nil), .routedExperts(experts), .finished(.length)])
                : .hanging([.token(id: 11, logprobs: nil)])
        }
        let impatient: (inout ServerSettings) -> Void = { $0.limits.patience = .seconds(1) }
        try await withServer(engine, change: impatient) { port in
            let client = try RawClient(port: port)
            defer { client.close() }
            client.send(body: #"{"input_ids": [[1, 2], [3]], "stream": true, "return_routed_experts": true}"#)
            try await eventually { engine.state.withLock { $0.stopped } == 1 }
        }
    }

    @Test("the signal to stop reaches the engine", .timeLimit(.minutes(1)))
    func drain() async throws {
        let engine = ScriptedEngine(replying: [11])
        try await withServer(engine) { _ in }
        try await eventually { engine.state.withLock { $0.calls } == ["shutdown"] }
    }

    @Test("a port in use is one line that says what to do", .timeLimit(.minutes(1)))
    func portInUse() async throws {
        try await withServer(ScriptedEngine(replying: [11])) { port in
            let error = await #expect(throws: ListenError.self) {
                try await ListenError.check(host: "127.0.0.1", port: port)
            }
            #expect(error == .portInUse(port))
            #expect(
                error?.description == "--port \(port): address already in use; choose another with --port")
        }
    }

    @Test("a host that means nothing is one line too", arguments: ["no.such.host.invalid", "192.0.2.1"])
    func badHost(host: String) async throws {
        await #expect(throws: ListenError.badHost(host)) { try await ListenError.check(host: host, port: 0) }
    }
}

/// A blocking TCP client.
private final class RawClient: Sendable {
    private let descriptor: Int32

    init(port: Int) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        // Little of a reply that is not read may be on its way.
        var buffer: Int32 = 4096
        setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &buffer, socklen_t(MemoryLayout<Int32>.size))
        // 127.0.0.1 as a sockaddr_in. Its members are not named: they are visible or not by which modules the compiler
        // happens to have read before.
        #if canImport(Darwin)
            let family: [UInt8] = [16, UInt8(AF_INET)]
        #else
            let family = [UInt8(AF_INET), 0]
        #endif
        let address = family + [UInt8(port >> 8), UInt8(port & 255), 127, 0, 0, 1] + Array(repeating: 0, count: 8)
        let result = address.withUnsafeBytes { bytes in
            bytes.withMemoryRebound(to: sockaddr.self) { connect(descriptor, $0.baseAddress, socklen_t(bytes.count)) }
        }
        try #require(result == 0)
    }

    func send(body: String) {
        send("POST /generate HTTP/1.1\r\nHost: test\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
    }

    func send(_ text: String) {
        _ = text.withCString { Foundation.send(descriptor, $0, strlen($0), 0) }
    }

    func endSending() { shutdown(descriptor, Int32(SHUT_WR)) }

    func readToEnd() -> String { read { _ in false } }

    func read(until end: String) -> String { read { $0.contains(end) } }

    private func read(until isEnough: (String) -> Bool) -> String {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while !isEnough(String(decoding: bytes, as: UTF8.self)) {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            guard count > 0 else { break }
            bytes += buffer.prefix(count)
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    func close() { Foundation.close(descriptor) }
}

/// Runs blocking `work` on a thread of its own, so that it does not starve the server.
private func offPool<Value: Sendable>(_ work: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
        Thread { continuation.resume(with: Result(catching: work)) }.start()
    }
}
