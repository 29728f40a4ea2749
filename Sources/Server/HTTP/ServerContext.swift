// ServerContext: what Hummingbird hands to a handler beside the request: logger, path parameters, the channel.

internal import Hummingbird
internal import NIOCore

/// What a handler gets beside the request.
struct ServerContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    /// The connection, to notice that the client hangs up.
    let channel: any Channel

    init(source: ApplicationRequestContextSource) {
        coreContext = CoreRequestContextStorage(source: source)
        channel = source.channel
    }
}
