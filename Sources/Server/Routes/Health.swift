// Health: is the server there, and does the engine make progress?

internal import Engine
internal import HTTPTypes
internal import Hummingbird

/// `/health`, its other name `/ping`, `/health_generate` and `/ready`.
struct HealthRoute: Sendable {
    let state: ServerState

    func register(on router: Router<ServerContext>) {
        router.get("/health", use: answer)
        router.get("/ping", use: answer)
        router.get("/health_generate", use: generate)
        router.get("/ready") { _, _ in Response(status: state.isDraining ? .serviceUnavailable : .ok) }
    }

    /// 200 when the engine has answered a moment ago or answers between two steps, 503 after the timeout. Computes no
    /// token: orchestrators ask every few seconds, and what they ask must not be counted among what users sent.
    @Sendable private func answer(_ request: Request, _ context: ServerContext) async throws -> Response {
        let pulse = state.pulse
        if !state.isDraining, pulse.isFresh { return Response(status: .ok) }
        return await status {
            await pulse.beat()
            return true
        }
    }

    /// 200 as soon as the engine computes anything, 503 after the timeout.
    @Sendable private func generate(_ request: Request, _ context: ServerContext) async throws -> Response {
        await status {
            await withTaskGroup(of: Bool?.self) { group in
                group.addTask { await answersProbe() ? true : nil }
                group.addTask { await makesProgress() }
                defer { group.cancelAll() }
                for await verdict in group {
                    if let verdict { return verdict }
                }
                return false
            }
        }
    }

    /// 200 when `question` is answered with true within the timeout. Not a task group: an engine that is stuck does
    /// not answer to cancellation either, and must not hold up the 503.
    private func status(_ question: @escaping @Sendable () async -> Bool) async -> Response {
        guard !state.isDraining else { return Response(status: .serviceUnavailable) }
        let (answers, answer) = AsyncStream.makeStream(of: Bool.self)
        let asking = Task { _ = answer.yield(await question()) }
        let clock = Task {
            try? await Task.sleep(for: state.settings.healthTimeout)
            answer.yield(false)
        }
        defer {
            asking.cancel()
            clock.cancel()
        }
        let isAlive = await answers.first { _ in true } ?? false
        return Response(status: isAlive ? .ok : .serviceUnavailable)
    }

    /// Whether a request of one token gets an answer; a full queue is no answer.
    private func answersProbe() async -> Bool {
        var sampling = SamplingParameters()
        sampling.maxNewTokens = 1
        sampling.temperature = 0
        var probe = GenerationRequest(
            id: "HEALTH_CHECK_" + TextRequest.randomID(), promptIDs: [0], sampling: sampling)
        // It takes nobody's place.
        probe.priority = Int(Int32.min)
        guard let stream = try? await state.engine.submit([probe], pace: .tokens(1)) else { return false }
        var updates = stream.makeAsyncIterator()
        switch await updates.next()?.first?.event {
        case nil, .finished(.aborted), .finished(.refused): return false
        case .prompt, .token, .routedExperts, .finished: return true
        }
    }

    /// Waits until the engine has computed other requests; false when cancelled.
    private func makesProgress() async -> Bool {
        let before = await state.engine.statistics().passesTotal
        while (try? await Task.sleep(for: .milliseconds(100))) != nil {
            if await state.engine.statistics().passesTotal > before { return true }
        }
        return false
    }
}
