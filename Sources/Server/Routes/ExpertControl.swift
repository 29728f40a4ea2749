// ExpertControl: starts, stops and dumps the expert distribution record. The texts are what sglang's clients know.

internal import HTTPTypes
internal import Hummingbird

/// The three control endpoints, GET and POST.
struct ExpertControlRoute: Sendable {
    let state: ServerState

    /// Where clients find the path of the file that a dump wrote.
    static let fileHeader = "x-expert-distribution-file"

    private struct DumpReply: Encodable {
        var path: String
    }

    func register(on router: Router<ServerContext>) {
        let engine = state.engine
        control(router, "/start_expert_distribution_record") { _ in
            try await engine.startRecording()
            return .text("Start recording the expert distribution.\n")
        }
        control(router, "/stop_expert_distribution_record") { _ in
            try await engine.stopRecording()
            return .text("Stop recording the expert distribution.\n")
        }
        control(router, "/dump_expert_distribution_record") { request in
            let path = try await engine.dumpRecord()
            var headers: HTTPFields = [:]
            if let name = HTTPField.Name(Self.fileHeader) { headers[name] = path }
            if request.headers[.accept]?.contains("application/json") == true {
                return try .json(DumpReply(path: path), headers: headers)
            }
            return .text("Dump expert distribution record.\n", headers: headers)
        }
    }

    private func control(
        _ router: Router<ServerContext>, _ path: RouterPath,
        _ action: @escaping @Sendable (Request) async throws -> Response
    ) {
        router.get(path) { request, _ in try await action(request) }
        router.post(path) { request, _ in try await action(request) }
    }
}
