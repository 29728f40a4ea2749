// StallGuard: gives up a connection whose client has stopped reading.
//
// A reader that is slow costs nothing but its own buffer: a stream waits for it and then sends the newest state. One that
// reads nothing at all, or whose machine is gone, would keep that buffer for ever.

internal import NIOCore

/// Closes a connection that is full and has not sent a byte for `limit`. Lives on the connection's event loop.
final class StallGuard: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = NIOAny

    private let limit: TimeAmount
    private var check: Scheduled<Void>?

    /// A guard that waits for `limit`.
    init(limit: Duration) { self.limit = TimeAmount(limit) }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable {
            check?.cancel()
            check = nil
        } else if check == nil {
            checkLater(context, waiting: .max)
        }
        context.fireChannelWritabilityChanged()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        check?.cancel()
        check = nil
    }

    /// Looks after `limit` whether fewer bytes than `before` wait to be sent.
    private func checkLater(_ context: ChannelHandlerContext, waiting before: Int) {
        check = context.eventLoop.assumeIsolated().scheduleTask(in: limit) { [self] in
            let waiting = (try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? before
            if waiting < before {
                checkLater(context, waiting: waiting)
            } else {
                check = nil
                context.close(promise: nil)
            }
        }
    }
}
