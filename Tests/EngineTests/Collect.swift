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
func collect(_ stream: GenerationStream) async -> Output {
    var output = Output()
    for await event in stream.events {
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

extension GenerationStream {
    /// The events of a stream of one request.
    var events: AsyncStream<GenerationEvent> {
        let (events, source) = AsyncStream.makeStream(of: GenerationEvent.self)
        let reading = Task { [self] in
            for await updates in self {
                for update in updates { source.yield(update.event) }
            }
            source.finish()
        }
        source.onTermination = { _ in reading.cancel() }
        return events
    }
}
