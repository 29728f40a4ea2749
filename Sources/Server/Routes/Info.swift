// Info: what is served and how, and small controls.

internal import Engine
internal import HTTPTypes
internal import Hummingbird

/// Model and server information, abort, cache flush.
struct InfoRoute: Sendable {
    let state: ServerState

    private struct Abort: Decodable {
        var rid: String?
        var abortAll: Bool?

        enum CodingKeys: String, CodingKey {
            case rid
            case abortAll = "abort_all"
        }
    }

    func register(on router: Router<ServerContext>) {
        for path: RouterPath in ["/model_info", "/get_model_info"] {
            router.get(path) { _, _ in try Response.json(modelInfo) }
        }
        for path: RouterPath in ["/server_info", "/get_server_info"] {
            router.get(path) { _, _ in try Response.json(await serverInfo()) }
        }
        router.post("/abort_request") { request, _ in
            let body = try await request.decode(Abort.self, state.settings.limits)
            if body.abortAll == true {
                await state.generator.abortAll()
            } else if let rid = body.rid {
                await state.generator.abort(rid)
            } else {
                throw RequestError("rid is missing: name the request, or send abort_all true.", field: "rid")
            }
            return Response(status: .ok)
        }
        router.get("/flush_cache") { request, _ in try await flushCache(request) }
        router.post("/flush_cache") { request, _ in try await flushCache(request) }
    }

    private var modelInfo: JSONValue {
        let model = state.generator.model
        let path = JSONValue.string(state.settings.modelPath)
        return .object([
            "model_path": path,
            "tokenizer_path": path,
            "is_generation": .bool(true),
            "served_model_name": .string(state.settings.servedModelName),
            "preferred_sampling_params": .null,
            "weight_version": .string("default"),
            "load_format": .string("auto"),
            "reasoning_parser": .null,
            "tool_call_parser": .null,
            "disaggregation_mode": .string("null"),
            "has_image_understanding": .bool(false),
            "has_audio_understanding": .bool(false),
            "model_type": .string(model.modelType),
            "architectures": .array([.string(model.architecture)]),
        ])
    }

    private func serverInfo() async -> JSONValue {
        let model = state.generator.model
        let statistics = await state.engine.statistics()
        var info = state.settings.arguments
        info["max_total_num_tokens"] = .int(statistics.maxTotalTokens)
        info["max_req_input_len"] = .int(max(min(statistics.contextLength, statistics.maxTotalTokens) - 1, 0))
        info["version"] = .string(state.settings.version)
        info["startup_time"] = .int(state.created)
        info["device_name"] = .string(model.device)
        info["instruction_set"] = .string(model.instructionSet)
        info["internal_states"] = .array([
            .object([
                "last_gen_throughput": .double(statistics.generationThroughput),
                "num_running_reqs": .int(statistics.runningRequests),
                "num_queue_reqs": .int(statistics.queuedRequests),
                "num_used_tokens": .int(statistics.usedTokens),
                "memory_usage": memory(model),
                "num_requests_total": .int(statistics.requestsTotal),
                "num_retracted_requests_total": .int(statistics.preemptionsTotal),
                "cached_tokens_total": .int(statistics.cachedTokensTotal),
                "prompt_tokens_total": .int(statistics.promptTokensTotal),
                "generation_tokens_total": .int(statistics.generatedTokensTotal),
                "forward_passes_total": .int(statistics.passesTotal),
                "is_recording_expert_distribution": .bool(statistics.isRecording),
            ])
        ])
        return .object(info)
    }

    /// In units of 2^30 bytes, as clients of sglang expect.
    private func memory(_ model: ModelDescription) -> JSONValue {
        .object([
            "weight": .double(Double(model.weightBytes) / 0x1p30),
            "kvcache": .double(Double(model.cacheBytes) / 0x1p30),
            "token_capacity": .int(model.tokenCapacity),
        ])
    }

    /// Empties the prefix cache; refused while requests run or wait, unless they end within `?timeout=` seconds.
    private func flushCache(_ request: Request) async throws -> Response {
        var patience = 0.0
        if let text = request.uri.queryParameters["timeout"] {
            guard let seconds = Double(text), (0...3600).contains(seconds) else {
                throw RequestError("timeout is \(text), but must be from 0 to 3600 seconds.", field: "timeout")
            }
            patience = seconds
        }
        let end = ContinuousClock.now + .seconds(patience)
        while true {
            if await state.engine.flushCache() { return .text("Cache flushed.\n") }
            guard ContinuousClock.now < end else { break }
            try await Task.sleep(for: .milliseconds(20))
        }
        let statistics = await state.engine.statistics()
        return .text(
            "Cache not flushed: \(statistics.runningRequests) requests run and \(statistics.queuedRequests) wait.\n",
            status: .badRequest)
    }
}
