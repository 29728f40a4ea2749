import Engine
import Synchronization

/// What one request produced.
struct Output: Sendable {
    var cachedTokens = -1
    var prompt: [PositionLogprobs] = []
    var ids: [Int32] = []
    var logprobs: [PositionLogprobs] = []
    var routedExperts: RoutedExperts?
    var finish: FinishReason?
}

/// Reads a stream to its end.
func collect(_ stream: AsyncStream<GenerationEvent>) async -> Output {
    var output = Output()
    for await event in stream {
        switch event {
        case .prompt(let cachedTokens, let logprobs):
            output.cachedTokens = cachedTokens
            output.prompt = logprobs
        case .token(let id, let logprobs):
            output.ids.append(id)
            if let logprobs { output.logprobs.append(logprobs) }
        case .routedExperts(let experts): output.routedExperts = experts
        case .finished(let reason): output.finish = reason
        }
    }
    return output
}

/// Progress reports, from any thread.
final class Seen: Sendable {
    private let reports = Mutex<[LoadProgress]>([])

    func append(_ report: LoadProgress) { reports.withLock { $0.append(report) } }

    var all: [LoadProgress] { reports.withLock { $0 } }
}
