// Serve: `switchyard serve`: loads a model, listens, and drains on Ctrl-C.

import ArgumentParser
import Compute
import Engine
import Foundation
import Logging
import Server
import ServiceLifecycle
import UnixSignals

/// `switchyard serve`.
struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Serve a model over HTTP: sglang's native API and OpenAI's.",
        discussion: """
            Examples:
              switchyard serve
              switchyard serve --model-path ./Qwen1.5-MoE-A2.7B --host 0.0.0.0 --port 80

            Then, from another terminal:
              curl http://127.0.0.1:30000/generate -d '{"text": "The capital of"}'
              curl http://127.0.0.1:30000/v1/chat/completions \\
                -d '{"messages": [{"role": "user", "content": "Hello"}]}'

            Which experts are busy:
              curl -X POST http://127.0.0.1:30000/start_expert_distribution_record
              curl -X POST http://127.0.0.1:30000/dump_expert_distribution_record -i

            Flags that only tune GPUs (--mem-fraction-static, --disable-cuda-graph, ...)
            are accepted and ignored with a warning.

            Environment:
              SGLANG_EXPERT_DISTRIBUTION_RECORDER_DIR  folder of dumps (default: /tmp)
              SGLANG_HEALTH_CHECK_TIMEOUT              seconds (default: 20)
            """)

    @OptionGroup(title: "Model and limits")
    var engineOptions: EngineOptions

    @OptionGroup(title: "Server")
    var options: ServeOptions

    func validate() throws {
        if options.logsBalancedness, engineOptions.expertDistributionRecorderMode == .off {
            throw ValidationError(
                "--expert-balancedness-report-mode: nothing is recorded; leave out --expert-distribution-recorder-mode "
                    + "off")
        }
    }

    func run() async throws {
        LoggingSystem.bootstrap { StreamLogHandler.standardError(label: $0) }
        var logger = Logger(label: "switchyard")
        logger.logLevel = options.logLevel.level

        Self.allowManyConnections()
        // Before the weights: a taken port should not cost the time to load a model.
        try await ListenError.check(host: options.host, port: options.port)
        if let line = engineOptions.fallback { logger.info("\(line)") }
        let model = try await LoadedModel(engineOptions)
        Terminal.print(Self.startLine(model.engine.model, path: model.path))

        let settings = ServerSettings(options, engine: engineOptions, modelPath: model.path)
        let server = SwitchyardServer(
            engine: model.engine, generator: model.generator, settings: settings, logger: logger
        ) { host, port in
            let address = host.contains(":") ? "[\(host)]" : host
            Terminal.print("The server is fired up and ready to roll! http://\(address):\(port)")
        }
        var groupLogger = logger
        if groupLogger.logLevel == .info { groupLogger.logLevel = .notice }
        var services: [any Service] = [server, StopNotice(seconds: options.shutdownTimeout)]
        if options.logsBalancedness { services.insert(BalancednessLog(engine: model.engine, logger: logger), at: 0) }
        var configuration = ServiceGroupConfiguration(
            services: services, gracefulShutdownSignals: [.sigint, .sigterm], logger: groupLogger)
        // A client that sends half a request and waits must not keep the process alive.
        configuration.maximumGracefulShutdownDuration = .seconds(options.shutdownTimeout + 2)
        do {
            try await ServiceGroup(configuration: configuration).run()
        } catch is CancellationError {
            return
        }
    }

    /// Every connection is an open file; the usual limit of 1024 is one for programs that use `select`.
    private static func allowManyConnections() {
        let files = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        var limit = rlimit()
        guard getrlimit(files, &limit) == 0, limit.rlim_cur < limit.rlim_max else { return }
        limit.rlim_cur = limit.rlim_max
        setrlimit(files, &limit)
    }

    /// One line about what was loaded.
    static func startLine(_ model: ModelDescription, path: String) -> String {
        "model=\(path) device=\(model.device) isa=\(model.instructionSet) threads=\(model.threads) "
            + "layers=\(model.layers) experts=\(model.experts) top_k=\(model.topK) "
            + "token_capacity=\(model.tokenCapacity) precision=\(model.precision.rawValue) "
            + "weight_bytes=\(model.weightBytes) kv_cache_bytes=\(model.cacheBytes)"
    }
}

/// Says that the server stops, and gives the signals back to the system: a second Ctrl-C ends the process at once.
///
/// The last service of a group is told first.
private struct StopNotice: Service {
    let seconds: Int

    func run() async throws {
        try await gracefulShutdown()
        Terminal.error(
            "stopping: running requests have up to \(seconds) s to end; press Ctrl-C again to quit at once")
        signal(SIGINT, SIG_DFL)
        signal(SIGTERM, SIG_DFL)
    }
}
