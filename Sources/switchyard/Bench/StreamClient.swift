// StreamClient: sends one request over a connection of its own, and notes when which of its tokens came.
//
// The client shares the machine with the server, so events are searched for their token counts rather than parsed, and
// that on the event loop: a task would have to be woken for each.

import ArgumentParser
import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix

/// What one client saw.
struct RequestTrace: Sendable {
    /// Seconds from the moment the request was due until each new tokens came, and how many had come then.
    var arrivals: [(seconds: Double, tokens: Int)] = []
    /// Prompt tokens, as the server counts them.
    var promptTokens = 0
    /// Why there is no complete reply; nil if there is one.
    var problem: String?

    /// Tokens generated.
    var tokens: Int { arrivals.last?.tokens ?? 0 }
}

/// Sends requests to one server.
struct StreamClient: Sendable {
    private let host: String
    private let port: Int
    private let path: String
    private let options: BenchServe

    /// A client for the server that the flags name.
    init(_ options: BenchServe) throws {
        guard let url = URL(string: options.baseUrl), url.scheme == "http", let host = url.host(), !host.isEmpty else {
            throw ValidationError("--base-url \(options.baseUrl): must be like http://127.0.0.1:30000")
        }
        self.host = host.trimmingCharacters(in: CharacterSet(charactersIn: "[]"))
        port = url.port ?? 80
        let folder = url.path().hasSuffix("/") ? String(url.path().dropLast()) : url.path()
        switch options.backend {
        case .sglang: path = folder + "/generate"
        case .openai: path = folder + (folder.hasSuffix("/v1") ? "/completions" : "/v1/completions")
        }
        self.options = options
    }

    /// Sends one request and reads its stream to the end; never fails, but says what went wrong.
    ///
    /// - Parameters:
    ///   - prompt: what to continue.
    ///   - due: the moment from which times count.
    /// - Returns: what came, and when.
    func ask(_ prompt: ServeLoad.Prompt, due: ContinuousClock.Instant) async -> RequestTrace {
        await withTaskGroup(of: RequestTrace?.self) { group in
            group.addTask {
                do {
                    return try await exchange(try body(prompt), due: due)
                } catch is CancellationError {
                    return nil
                } catch {
                    return RequestTrace(problem: "\(error)")
                }
            }
            group.addTask { [timeout = options.timeout] in
                try? await Task.sleep(for: .seconds(timeout))
                return Task.isCancelled ? nil : RequestTrace(problem: "no complete reply within \(timeout) s")
            }
            defer { group.cancelAll() }
            for await trace in group {
                if let trace { return trace }
            }
            return RequestTrace(problem: "cancelled")
        }
    }

    private func exchange(_ body: ByteBuffer, due: ContinuousClock.Instant) async throws -> RequestTrace {
        var headers: HTTPHeaders = [
            "host": "\(host):\(port)", "content-type": "application/json", "connection": "close",
            "content-length": "\(body.readableBytes)",
        ]
        if let key = options.apiKey { headers.add(name: "authorization", value: "Bearer \(key)") }
        let head = HTTPRequestHead(version: .http1_1, method: .POST, uri: path, headers: headers)
        let group = MultiThreadedEventLoopGroup.singleton
        let traced = group.any().makePromise(of: RequestTrace.self)
        let countsChunks = options.backend == .openai
        let channel: any Channel
        do {
            channel = try await ClientBootstrap(group: group)
                .channelOption(.tcpOption(.tcp_nodelay), value: 1)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHTTPClientHandlers()
                        try channel.pipeline.syncOperations.addHandler(
                            StreamTracer(head, body, countsChunks: countsChunks, due: due, traced))
                    }
                }
                .connect(host: host, port: port).get()
        } catch {
            traced.fail(error)
            throw error
        }
        return try await withTaskCancellationHandler {
            try await traced.futureResult.get()
        } onCancel: {
            channel.close(promise: nil)
        }
    }

    private func body(_ prompt: ServeLoad.Prompt) throws -> ByteBuffer {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        let bytes =
            switch options.backend {
            case .sglang: try encoder.encode(GenerateBody(prompt, tokens: options.outputLen))
            case .openai: try encoder.encode(CompletionBody(prompt, options.model, tokens: options.outputLen))
            }
        return ByteBuffer(bytes: bytes)
    }
}

/// Sends the request when the connection is there, and follows the reply. Lives on the connection's event loop.
private final class StreamTracer: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundOut = HTTPClientRequestPart

    private let head: HTTPRequestHead
    private let body: ByteBuffer
    private let due: ContinuousClock.Instant
    private var traced: EventLoopPromise<RequestTrace>?
    private var trace = RequestTrace()
    private var reader: EventReader
    private var refusal = ""

    init(
        _ head: HTTPRequestHead, _ body: ByteBuffer, countsChunks: Bool, due: ContinuousClock.Instant,
        _ traced: EventLoopPromise<RequestTrace>
    ) {
        self.head = head
        self.body = body
        self.due = due
        self.traced = traced
        reader = EventReader(countsChunks: countsChunks)
    }

    func channelActive(context: ChannelHandlerContext) {
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head) where head.status != .ok: refusal = "status \(head.status.code)"
        case .head: break
        case .body(let bytes) where !refusal.isEmpty:
            end(refusal + " " + String(buffer: bytes).prefix(200), context)
        case .body(let bytes):
            let before = reader.tokens
            reader.append(bytes)
            guard reader.tokens > before else { return }
            trace.arrivals.append(((ContinuousClock.now - due) / .seconds(1), reader.tokens))
        case .end:
            end(refusal.isEmpty ? reader.problem : refusal, context)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { end("\(error)", context) }

    func channelInactive(context: ChannelHandlerContext) { end("the connection was closed within the reply", context) }

    private func end(_ problem: String?, _ context: ChannelHandlerContext) {
        guard let traced else { return }
        self.traced = nil
        trace.problem = problem
        trace.promptTokens = reader.promptTokens
        traced.succeed(trace)
        context.close(promise: nil)
    }
}

/// The body of /generate.
private struct GenerateBody: Encodable {
    struct Sampling: Encodable {
        var temperature = 0.0
        var maxNewTokens: Int
        var ignoreEos = true
    }

    var text: String?
    var inputIds: [Int]?
    var samplingParams: Sampling
    var stream = true

    init(_ prompt: ServeLoad.Prompt, tokens: Int) {
        switch prompt {
        case .ids(let ids): inputIds = ids
        case .text(let text): self.text = text
        }
        samplingParams = Sampling(maxNewTokens: tokens)
    }
}

/// The body of /v1/completions.
private struct CompletionBody: Encodable {
    struct StreamOptions: Encodable {
        var includeUsage = true
        var continuousUsageStats = true
    }

    var model: String
    var prompt: Input
    var maxTokens: Int
    var temperature = 0.0
    var ignoreEos = true
    var stream = true
    var streamOptions = StreamOptions()

    struct Input: Encodable {
        var prompt: ServeLoad.Prompt

        func encode(to encoder: any Encoder) throws {
            var container = encoder.singleValueContainer()
            switch prompt {
            case .ids(let ids): try container.encode(ids)
            case .text(let text): try container.encode(text)
            }
        }
    }

    init(_ prompt: ServeLoad.Prompt, _ model: String, tokens: Int) {
        self.model = model
        self.prompt = Input(prompt: prompt)
        maxTokens = tokens
    }
}
