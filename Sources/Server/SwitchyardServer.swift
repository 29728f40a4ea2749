// SwitchyardServer: the HTTP server as a service: routes, middleware, start, drain.
//
// On the signal to stop, Hummingbird stops accepting and waits for open requests; meanwhile the engine is told to
// finish or abort what runs, so the wait ends by the shutdown timeout.

internal import Hummingbird
internal import HummingbirdCore
public import Logging
internal import NIOCore
public import ServiceLifecycle

/// The HTTP server.
public struct SwitchyardServer: Service {
    private let state: ServerState
    private let logger: Logger
    private let onListening: @Sendable (_ host: String, _ port: Int) async -> Void

    /// Connections that wait to be accepted; the system may allow fewer.
    private static let backlog = 4096

    /// A server in front of `engine`.
    ///
    /// - Parameters:
    ///   - engine: computes.
    ///   - generator: stands in front of the same engine.
    ///   - settings: what the operator chose.
    ///   - logger: for errors.
    ///   - onListening: called once connections are accepted, with the port in use.
    public init(
        engine: any InferenceEngine, generator: TextGenerator, settings: ServerSettings, logger: Logger,
        onListening: @escaping @Sendable (_ host: String, _ port: Int) async -> Void = { _, _ in }
    ) {
        state = ServerState(engine: engine, generator: generator, settings: settings)
        self.logger = logger
        self.onListening = onListening
    }

    /// Serves until told to stop.
    ///
    /// - Throws: `ListenError` when the address cannot be listened on.
    public func run() async throws {
        let (state, application) = (state, makeApplication())
        do {
            try await withGracefulShutdownHandler {
                try await application.run()
            } onGracefulShutdown: {
                Task { await state.drain() }
            }
        } catch {
            throw ListenError(error, host: state.settings.host, port: state.settings.port) ?? error
        }
    }

    /// The application without its life cycle, for tests.
    func makeApplication() -> Application<RouterResponder<ServerContext>> {
        let router = Router(context: ServerContext.self)
        router.add(middleware: CrossOrigin())
        router.add(middleware: ErrorReplies())
        if let key = state.settings.apiKey { router.add(middleware: APIKeyCheck(key: key)) }
        GenerateRoute(state: state).register(on: router)
        CompletionsRoute(state: state).register(on: router)
        ChatRoute(state: state).register(on: router)
        ModelsRoute(state: state).register(on: router)
        ExpertControlRoute(state: state).register(on: router)
        ExpertDistributionRoute(state: state).register(on: router)
        MetricsRoute(state: state).register(on: router)
        HealthRoute(state: state).register(on: router)
        InfoRoute(state: state).register(on: router)
        OutOfScopeRoute().register(on: router)
        let (settings, onListening) = (state.settings, onListening)
        var serverLogger = logger
        // Hummingbird's own line about listening would double ours.
        if serverLogger.logLevel == .info { serverLogger.logLevel = .notice }
        return Application(
            router: router,
            server: .http1(
                configuration: .init(
                    additionalChannelHandlers: [HangUpDetector(), StallGuard(limit: settings.limits.patience)],
                    idleTimeout: TimeAmount(settings.limits.idleness))),
            configuration: ApplicationConfiguration(
                address: .hostname(settings.host, port: settings.port), serverName: "switchyard",
                backlog: Self.backlog),
            onServerRunning: { channel in
                await onListening(settings.host, channel.localAddress?.port ?? settings.port)
            },
            logger: serverLogger)
    }
}
