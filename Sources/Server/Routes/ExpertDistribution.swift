// ExpertDistribution: what is being recorded, once or as a stream of events. Nobody listens, nothing is done.

internal import Engine
internal import HTTPTypes
internal import Hummingbird
internal import NIOCore
internal import Synchronization

/// `GET /expert_distribution` and `GET /expert_distribution/stream`.
struct ExpertDistributionRoute: Sendable {
    let state: ServerState

    /// The time between two events: at most ten a second.
    private static let interval = Duration.milliseconds(100)
    /// Intervals without news after which a comment tells that the stream lives.
    private static let quiet = 150

    func register(on router: Router<ServerContext>) {
        let engine = state.engine
        router.get("/expert_distribution") { _, _ in
            try Response.json(RecordingReport(await engine.recordingStatus()))
        }
        router.get("/expert_distribution/stream") { _, context in
            guard await engine.recordingStatus() != nil else { throw EngineError.recordingDisabled }
            return stream(for: context.channel)
        }
    }

    /// Counts whenever they have changed, until the client hangs up or the server stops.
    private func stream(for channel: any Channel) -> Response {
        let state = state
        let gone = Gone()
        let watch = HangUpWatch(channel) { gone.value.withLock { $0 = true } }
        let body = ResponseBody { writer in
            defer { watch.end() }
            var last: [Int]?
            var quiet = 0
            while !gone.value.withLock({ $0 }), !state.isDraining, let status = await state.engine.recordingStatus() {
                let moment = RecordingEvent.moment(status)
                quiet += 1
                if last != moment {
                    var events = EventBuffer()
                    try events.append(RecordingEvent(status))
                    try await writer.write(events.bytes)
                    last = moment
                    quiet = 0
                } else if quiet == Self.quiet {
                    try await writer.write(ByteBuffer(staticString: ": nothing new\n\n"))
                    quiet = 0
                }
                try await Task.sleep(for: Self.interval)
            }
            try await writer.finish(nil)
        }
        return Response(
            status: .ok, headers: [.contentType: "text/event-stream; charset=utf-8", .cacheControl: "no-cache"],
            body: body)
    }

    /// Whether the client has hung up.
    private final class Gone: Sendable {
        let value = Mutex(false)
    }
}
