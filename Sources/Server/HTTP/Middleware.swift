// Middleware: every error leaves as JSON; with an API key, nobody gets in without it.

internal import HTTPTypes
internal import Hummingbird
internal import Logging
internal import NIOCore

/// Turns errors into replies, in OpenAI's shape below /v1 and in the native one elsewhere.
struct ErrorReplies: RouterMiddleware {
    /// How long the rest of a body that nobody wants is still taken.
    private static let lingering = TimeAmount.seconds(2)

    func handle(
        _ request: Request, context: ServerContext,
        next: (Request, ServerContext) async throws -> Response
    ) async throws -> Response {
        do {
            return try await next(request, context)
        } catch {
            var failure = RequestFailure(error)
            if failure.status == .notFound, failure.code == nil {
                failure.message = "There is no \(request.method) \(request.uri.path) here."
            }
            if failure.status == .internalServerError {
                context.logger.error("request failed", metadata: ["path": "\(request.uri.path)", "error": "\(error)"])
            }
            var response = try failure.response(openAI: request.uri.path.hasPrefix("/v1/"))
            if failure.leavesBody {
                // Closing at once would take the reply away from a client that still sends.
                response.headers[.connection] = "close"
                let channel = context.channel
                channel.eventLoop.scheduleTask(in: Self.lingering) { channel.close(promise: nil) }
            }
            return response
        }
    }
}

/// Lets requests pass that carry `Authorization: Bearer <key>`; `/health*`, `/ready`, `/metrics` and OPTIONS are open.
struct APIKeyCheck: RouterMiddleware {
    let key: String

    private struct Unauthorized: Encodable {
        var error = "Unauthorized"
    }

    func handle(
        _ request: Request, context: ServerContext,
        next: (Request, ServerContext) async throws -> Response
    ) async throws -> Response {
        let path = request.uri.path
        let isOpen = path.hasPrefix("/health") || path == "/ready" || path == "/metrics" || request.method == .options
        guard isOpen || Self.isEqual(request.headers[.authorization] ?? "", "Bearer " + key) else {
            return try .json(Unauthorized(), status: .unauthorized, headers: [.wwwAuthenticate: "Bearer"])
        }
        return try await next(request, context)
    }

    /// Compares without telling by its duration how much of the key was right.
    private static func isEqual(_ given: String, _ expected: String) -> Bool {
        let (given, expected) = (Array(given.utf8), Array(expected.utf8))
        guard given.count == expected.count else { return false }
        return zip(given, expected).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
    }
}
