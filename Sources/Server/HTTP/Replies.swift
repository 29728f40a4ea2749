// Replies: waits for a batch, or writes it as server-sent events; both give the batch up when the client hangs up.

internal import HTTPTypes
internal import Hummingbird
internal import NIOCore

/// Turns updates into events. A value that travels with one stream.
protocol EventRenderer: Sendable {
    /// Appends the events for what changed.
    mutating func render(_ updates: [IndexedOutput], to events: inout EventBuffer) throws
    /// Appends what follows the last update, before `[DONE]`.
    mutating func finish(_ events: inout EventBuffer) throws
}

extension EventRenderer {
    mutating func finish(_ events: inout EventBuffer) throws {}
}

/// Events on their way into one write.
struct EventBuffer {
    private(set) var bytes = ByteBuffer()

    /// Appends `data: <JSON>` and a blank line.
    mutating func append(_ value: some Encodable) throws {
        var json = try encodeJSON(value)
        bytes.writeStaticString("data: ")
        bytes.writeBuffer(&json)
        bytes.writeStaticString("\n\n")
    }

    /// Appends the event that ends a stream.
    mutating func appendDone() { bytes.writeStaticString("data: [DONE]\n\n") }
}

extension TextBatch {
    /// All outputs once they are done.
    ///
    /// - Throws: `ClientHungUp` when the client did not wait for them.
    func finished(for channel: any Channel) async throws -> [TextOutput] {
        let watch = HangUpWatch(channel, cancellation)
        defer { watch.end() }
        guard let outputs = try await finished() else { throw ClientHungUp() }
        return outputs
    }

    /// A reply that streams the batch, begun when there is something to say. Tokens that are ready together are one write.
    ///
    /// - Throws: `EngineError` when the batch is refused before that.
    func eventStream(for channel: any Channel, _ renderer: some EventRenderer) async throws -> Response {
        let watch = HangUpWatch(channel, cancellation)
        var outputs = makeAsyncIterator()
        let first: [IndexedOutput]?
        do {
            first = try await outputs.next()
        } catch {
            watch.end()
            throw error
        }
        let body = ResponseBody { [outputs] writer in
            defer {
                watch.end()
                cancellation()
            }
            var renderer = renderer
            var outputs = outputs
            var latest = first
            var events = EventBuffer()
            do {
                while let updates = latest {
                    try renderer.render(updates, to: &events)
                    if events.bytes.readableBytes > 0 { try await writer.write(events.bytes) }
                    events = EventBuffer()
                    latest = try await outputs.next()
                }
                guard outputs.isDone else { throw ClientHungUp() }
                try renderer.finish(&events)
            } catch let error where !(error is ClientHungUp) {
                // The status has been sent; where it is the client that fails, the next write does too.
                events = EventBuffer()
                try events.append(NativeErrorBody(RequestFailure(error)))
            }
            events.appendDone()
            try await writer.write(events.bytes)
            try await writer.finish(nil)
        }
        return Response(
            status: .ok, headers: [.contentType: "text/event-stream; charset=utf-8", .cacheControl: "no-cache"],
            body: body)
    }
}
