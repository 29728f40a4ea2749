// CrossOrigin: lets pages of any origin ask, as sglang does. No cookies are used, so none are allowed along.

internal import HTTPTypes
internal import Hummingbird

/// Answers preflight requests, and marks every reply as readable by pages of any origin.
struct CrossOrigin: RouterMiddleware {
    /// Reply headers that a page may read beside the ordinary ones.
    private static let exposed = "\(ExpertControlRoute.fileHeader), retry-after"

    func handle(
        _ request: Request, context: ServerContext,
        next: (Request, ServerContext) async throws -> Response
    ) async throws -> Response {
        guard request.headers[.origin] != nil else {
            return request.method == .options ? Response(status: .noContent) : try await next(request, context)
        }
        if request.method == .options {
            return Response(
                status: .noContent,
                headers: [
                    .accessControlAllowOrigin: "*",
                    .accessControlAllowMethods: "GET, POST, PUT, OPTIONS",
                    .accessControlAllowHeaders: request.headers[.accessControlRequestHeaders] ?? "*",
                    .accessControlMaxAge: "600",
                    .vary: "Access-Control-Request-Headers",
                ])
        }
        var response = try await next(request, context)
        response.headers[.accessControlAllowOrigin] = "*"
        response.headers[.accessControlExposeHeaders] = Self.exposed
        return response
    }
}
