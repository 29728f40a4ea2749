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
        await reply { _ = await state.engine.statistics() }
    }

    /// 200 as soon as the engine computes anything, 503 after the timeout.
    @Sendable private func generate(_ request: Request, _ context: ServerContext) async throws -> Response {
        await reply {
            await withTaskGroup(of: Bool.self) { group in
                group.addTask { await answersProbe() }
                group.addTask { await makesProgress() }
                defer { group.cancelAll() }
                for await isAlive in group where isAlive { return }
                // Neither: say nothing, and let the timeout speak.
                try? await Task.sleep(for: state.settings.healthTimeout)
            }
        }
    }

    /// 200 when `check` returns within the timeout, else 503. The reply does not wait for a check that hangs.
    private func reply(_ check: @escaping @Sendable () async -> Void) async -> Response {
        guard !state.isDraining else { return Response(status: .serviceUnavailable) }
        let (verdicts, verdict) = AsyncStream.makeStream(of: Bool.self)
        let checking = Task {
            await check()
            verdict.yield(true)
        }
        let waiting = Task {
            try await Task.sleep(for: state.settings.healthTimeout)
            verdict.yield(false)
        }
        defer {
            checking.cancel()
            waiting.cancel()
        }
        let isAlive = await verdicts.first { _ in true } ?? false
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
