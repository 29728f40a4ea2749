// EnginePulse: when the engine last answered, so that a question about its health need not wait for a step to end.
//
// Shared state: one `Mutex`.

internal import Synchronization

/// When the engine last answered.
final class EnginePulse: Sendable {
    private struct State {
        var lastAnswer: ContinuousClock.Instant?
        var isAsking = false
    }

    private let engine: any InferenceEngine
    private let state = Mutex(State())
    /// How long an answer counts; longer than any step should take.
    private static let validity = Duration.seconds(2)

    init(engine: any InferenceEngine) { self.engine = engine }

    /// Whether the engine has answered a moment ago. Asks it again, for those who come later, without waiting.
    var isFresh: Bool {
        let (answer, asks) = state.withLock { state in
            defer { state.isAsking = true }
            return (state.lastAnswer, !state.isAsking)
        }
        if asks { Task { await beat() } }
        return answer.map { ContinuousClock.now - $0 < Self.validity } ?? false
    }

    /// Returns when the engine has answered.
    func beat() async {
        _ = await engine.statistics()
        state.withLock { $0 = State(lastAnswer: .now, isAsking: false) }
    }
}
