// RequestFailure: every error that can end a request, as a status and a message; and the two bodies that carry it.

internal import Engine
internal import HTTPTypes
internal import Hummingbird
internal import Text

/// A request that cannot be served as it is: status 400.
public struct RequestError: Error, Equatable, CustomStringConvertible {
    /// What was found, what is allowed, what to do.
    public var message: String
    /// The field at fault, as the client spells it.
    public var field: String?

    /// An error about `field`.
    public init(_ message: String, field: String? = nil) {
        self.message = message
        self.field = field
    }

    /// The message.
    public var description: String { message }
}

/// An error as the client will see it.
struct RequestFailure: Error {
    var status: HTTPResponse.Status
    var message: String
    var field: String?
    var code: String?
    /// Seconds after which it is worth trying again.
    var retryAfter: Int?

    /// Whether the client may still be sending the body.
    var leavesBody: Bool { status == .contentTooLarge || status == .requestTimeout }

    init(status: HTTPResponse.Status, message: String, field: String? = nil, code: String? = nil) {
        self.status = status
        self.message = message
        self.field = field
        self.code = code
    }

    init(_ error: any Error) {
        switch error {
        case let failure as RequestFailure: self = failure
        case let error as RequestError: self.init(status: .badRequest, message: error.message, field: error.field)
        case let error as DecodingError: self.init(error)
        case let error as EngineError: self.init(error)
        case is ClientHungUp:
            self.init(status: HTTPResponse.Status(code: 499, reasonPhrase: "Client Closed Request"), message: "gone")
        case let error as ChatTemplateError: self.init(status: .badRequest, message: error.description)
        case let error as any HTTPResponseError:
            self.init(
                status: error.status,
                message: (error as? HTTPError)?.body ?? "\(error.status.code) \(error.status.reasonPhrase)")
        default: self.init(status: .internalServerError, message: "\(error)")
        }
    }

    private init(_ error: EngineError) {
        self.init(status: .badRequest, message: error.description)
        switch error {
        case .queueFull, .displaced:
            status = .serviceUnavailable
            code = "queue_full"
            retryAfter = 1
        case .shuttingDown:
            status = .serviceUnavailable
            code = "shutting_down"
            retryAfter = 10
        case .dumpFailed, .notEnoughMemory: status = .internalServerError
        case .duplicateID, .idTooLong: field = "rid"
        case .emptyPrompt, .tokenOutOfRange, .promptTooLong, .invalidSampling, .recordingDisabled: break
        }
    }

    private init(_ error: DecodingError) {
        let context: DecodingError.Context
        var path: [any CodingKey] = []
        switch error {
        case .keyNotFound(let key, let found):
            context = found
            path = found.codingPath + [key]
            self.init(status: .badRequest, message: "\(path.dotted) is missing.", field: path.dotted)
            return
        case .typeMismatch(_, let found), .valueNotFound(_, let found), .dataCorrupted(let found): context = found
        @unknown default:
            self.init(status: .badRequest, message: "\(error)")
            return
        }
        path = context.codingPath
        switch error {
        case .dataCorrupted where path.isEmpty:
            let detail = context.underlyingError.map { ": \($0)" } ?? "."
            self.init(status: .badRequest, message: "The body is not valid JSON" + detail)
        case _ where path.isEmpty: self.init(status: .badRequest, message: "The body must be a JSON object.")
        default:
            self.init(
                status: .badRequest, message: "\(path.dotted): \(context.debugDescription)", field: path.dotted)
        }
    }

    /// The reply, in OpenAI's shape or the native one.
    func response(openAI: Bool) throws -> Response {
        var headers: HTTPFields = [:]
        if let retryAfter { headers[.retryAfter] = String(retryAfter) }
        return openAI
            ? try .json(OpenAIErrorBody(self), status: status, headers: headers)
            : try .json(NativeErrorBody(self), status: status, headers: headers)
    }
}

/// `{"error": {"message": …}}`.
struct NativeErrorBody: Encodable {
    struct Content: Encodable {
        var message: String
    }

    var error: Content

    init(_ failure: RequestFailure) { error = Content(message: failure.message) }
}

/// `{"error": {"message": …, "type": …, "param": …, "code": …}}`.
struct OpenAIErrorBody: Encodable {
    struct Content: Encodable {
        var message: String
        var type: String
        var param: String?
        var code: String?

        enum CodingKeys: CodingKey { case message, type, param, code }

        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(message, forKey: .message)
            try container.encode(type, forKey: .type)
            try container.encode(param, forKey: .param)
            try container.encode(code, forKey: .code)
        }
    }

    var error: Content

    init(_ failure: RequestFailure) {
        let type =
            switch failure.status.kind {
            case .serverError: failure.status == .serviceUnavailable ? "service_unavailable" : "server_error"
            default: "invalid_request_error"
            }
        error = Content(message: failure.message, type: type, param: failure.field, code: failure.code)
    }
}
