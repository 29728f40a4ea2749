// Health: is the server there, and does the engine make progress?

internal import Engine
internal import HTTPTypes
internal import Hummingbird

/// `/health`, `/health_generate` and `/ready`.
struct HealthRoute: Sendable {
    let state: ServerState

    func register(on router: Router<ServerContext>) {
        router.get("/health", use: answer)
        router.get("/health_generate", use: generate)
        router.get("/ready") { _, _ in Response(status: state.isDraining ? .serviceUnavailable : .ok) }
    }

    /// 200 when the engine answers between two steps, 503 after the timeout. Computes no token: orchestrators ask every
    /// few seconds, and what they ask must not be counted among what users sent.
    @Sendable private func answer(_ request: Request, _ context: ServerContext) async throws -> Response {
        guard !state.isDraining else { return Response(status: .serviceUnavailable) }
        let isAlive = await withTaskGroup(of: Bool.self) { group in
            group.addTask {
                _ = await state.engine.statistics()
                return true
            }
            group.addTask {
                try? await Task.sleep(for: state.settings.healthTimeout)
                return false
            }
            defer { group.cancelAll() }
            return await group.next() ?? false
        }
        return Response(status: isAlive ? .ok : .serviceUnavailable)
    }

    /// 200 as soon as the engine computes anything, 503 after the timeout.
    @Sendable private func generate(_ request: Request, _ context: ServerContext) async throws -> Response {
        guard !state.isDraining else { return Response(status: .serviceUnavailable) }
        let isAlive = await withTaskGroup(of: Bool?.self) { group in
            group.addTask { await answersProbe() ? true : nil }
            group.addTask { await makesProgress() }
            defer { group.cancelAll() }
            for await verdict in group {
                if let verdict { return verdict }
            }
            return false
        }
        return Response(status: isAlive ? .ok : .serviceUnavailable)
    }

    /// Whether a request of one token gets an answer; a full queue is no answer.
    private func answersProbe() async -> Bool {
        var sampling = SamplingParameters()
        sampling.maxNewTokens = 1
        sampling.temperature = 0
        let probe = GenerationRequest(
            id: "HEALTH_CHECK_" + TextRequest.randomID(), promptIDs: [0], sampling: sampling)
        guard let events = try? await state.engine.submit(probe) else { return false }
        for await event in events {
            if case .finished(.aborted) = event { return false }
            return true
        }
        return false
    }

    /// Whether the engine computes other requests meanwhile; false when the timeout has passed.
    private func makesProgress() async -> Bool {
        let before = await state.engine.statistics().passesTotal
        let deadline = ContinuousClock.now + state.settings.healthTimeout
        while ContinuousClock.now < deadline, (try? await Task.sleep(for: .milliseconds(100))) != nil {
            if await state.engine.statistics().passesTotal > before { return true }
        }
        return false
    }
}
