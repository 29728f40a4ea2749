// HangUp: notices that a client has closed its side of the connection while its request is being served.
//
// Hummingbird tells a handler of a closed connection only when it reads the next request, or when a write fails, and
// its own `consumeWithInboundCloseHandler` ends every connection after one reply. So a channel handler listens for
// the end of input and calls whoever watches. A connection that is kept alive stays usable.
//
// Shared state: one `Mutex` in `HangUpDetector`.

internal import NIOCore
internal import Synchronization

/// Sits in each connection's pipeline and remembers whether the client has hung up.
final class HangUpDetector: ChannelInboundHandler, RemovableChannelHandler, Sendable {
    typealias InboundIn = NIOAny

    private struct State {
        var hasHungUp = false
        var actions: [ObjectIdentifier: @Sendable () -> Void] = [:]
    }

    private let state = Mutex(State())

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let event = event as? ChannelEvent, event == .inputClosed { fire() }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        fire()
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        fire()
        context.fireErrorCaught(error)
    }

    private func fire() {
        let actions = state.withLock { state in
            state.hasHungUp = true
            defer { state.actions = [:] }
            return Array(state.actions.values)
        }
        for action in actions { action() }
    }

    fileprivate func add(_ watch: HangUpWatch, _ action: @escaping @Sendable () -> Void) {
        let isLate = state.withLock { state in
            if !state.hasHungUp { state.actions[ObjectIdentifier(watch)] = action }
            return state.hasHungUp
        }
        if isLate { action() }
    }

    fileprivate func remove(_ watch: HangUpWatch) {
        _ = state.withLock { $0.actions.removeValue(forKey: ObjectIdentifier(watch)) }
    }
}

/// Calls an action once if the client hangs up before `end()`.
final class HangUpWatch: Sendable {
    private let channel: any Channel
    private let action: @Sendable () -> Void

    /// Begins to watch `channel`.
    init(_ channel: any Channel, _ action: @escaping @Sendable () -> Void) {
        self.channel = channel
        self.action = action
        channel.pipeline.handler(type: HangUpDetector.self).whenComplete { [self] result in
            switch result {
            case .success(let detector): detector.add(self, action)
            // A pipeline without the detector has been taken down with its connection, or is a test's.
            case .failure: channel.closeFuture.whenComplete { _ in action() }
            }
        }
    }

    /// Stops watching.
    func end() {
        channel.pipeline.handler(type: HangUpDetector.self).whenSuccess { $0.remove(self) }
    }
}

/// The client has hung up; nobody will read the reply.
struct ClientHungUp: Error {}
