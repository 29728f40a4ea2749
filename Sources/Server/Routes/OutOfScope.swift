// OutOfScope: paths that sglang's clients know and this version does not serve. A clear 501 beats a 404.

internal import HTTPTypes
internal import Hummingbird

/// Answers known paths that this version does not serve.
struct OutOfScopeRoute: Sendable {
    static let paths: [RouterPath] = [
        "/classify", "/close_session", "/configure_logging", "/encode", "/get_weights_by_name",
        "/init_weights_update_group", "/invocations", "/load_lora_adapter", "/open_session",
        "/release_memory_occupation",
        "/resume_memory_occupation", "/set_internal_state", "/start_profile", "/stop_profile",
        "/unload_lora_adapter", "/update_weights_from_disk", "/update_weights_from_distributed",
        "/update_weights_from_tensor", "/v1/batches", "/v1/embeddings", "/v1/files", "/v1/messages", "/v1/rerank",
        "/v1/responses", "/v1/score", "/v1/tokenize", "/vertex_generate",
    ]

    func register(on router: Router<ServerContext>) {
        for path in Self.paths {
            for method in [HTTPRequest.Method.get, .post, .put] {
                router.on(path, method: method) { request, _ -> Response in
                    throw RequestFailure(
                        status: .notImplemented,
                        message: "\(request.uri.path) is not part of this version.", code: "not_implemented")
                }
            }
        }
    }
}
