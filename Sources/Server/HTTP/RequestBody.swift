// RequestBody: reads a body within limits of size and time.

internal import HTTPTypes
internal import Hummingbird
internal import NIOCore

/// How much a client may send, and how long it may take.
public struct RequestLimits: Sendable, Equatable {
    /// The largest body, in bytes.
    public var bodyBytes = 32 << 20
    /// How long a client may take to send a body, or read nothing of a reply that has filled its buffers.
    public var patience: Duration = .seconds(60)
    /// How long nothing may be asked on a connection; longer than `patience`, whose reply would be cut off.
    public var idleness: Duration = .seconds(120)

    /// Bodies up to 32 MiB, sent within a minute, and two minutes between requests.
    public init() {}
}

extension Request {
    /// The whole body.
    ///
    /// - Throws: `RequestFailure` with status 413 when it is too large, 408 when it does not come in time, 400 when it is
    ///   empty.
    func wholeBody(_ limits: RequestLimits) async throws -> ByteBuffer {
        let tooLarge = RequestFailure(
            status: .contentTooLarge,
            message: "The body is larger than \(limits.bodyBytes) bytes (--max-request-bytes): send less.")
        if let length = headers[.contentLength].flatMap({ Int($0) }), length > limits.bodyBytes { throw tooLarge }
        let body = body
        let buffer = try await withThrowingTaskGroup(of: ByteBuffer.self) { group in
            group.addTask { try await body.collect(upTo: limits.bodyBytes) }
            group.addTask {
                try await Task.sleep(for: limits.patience)
                throw RequestFailure(
                    status: .requestTimeout, message: "The body did not come within \(limits.patience.seconds) s.")
            }
            defer { group.cancelAll() }
            do {
                return try await group.next() ?? ByteBuffer()
            } catch is NIOTooManyBytesError {
                throw tooLarge
            } catch let error where !(error is RequestFailure) {
                throw RequestError("The body ended too early: \(error)")
            }
        }
        guard buffer.readableBytes > 0 else { throw RequestError("The body is empty: send a JSON object.") }
        return buffer
    }

    /// The body as JSON.
    func decode<Value: Decodable>(_ type: Value.Type, _ limits: RequestLimits) async throws -> Value {
        try await wholeBody(limits).decodeJSON(type)
    }
}
