// ServeOptions: flags of `serve` alone: where to listen, who may ask, when to stop.

import ArgumentParser
import Compute
import Foundation
import Logging
import Server

/// How much is logged, by sglang's names.
enum LogLevelChoice: String, ExpressibleByArgument, CaseIterable {
    case debug, info, warning, error, critical

    /// The name in swift-log.
    var level: Logger.Level {
        switch self {
        case .debug: .debug
        case .info: .info
        case .warning: .warning
        case .error: .error
        case .critical: .critical
        }
    }
}

/// Where balancedness is reported.
enum BalancednessReport: String, ExpressibleByArgument, CaseIterable {
    case off, prometheus, both
    case serverLog = "server_log"
}

/// Flags of `serve` alone.
struct ServeOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Address to listen on; 0.0.0.0 for all.", valueName: "address"))
    var host = "127.0.0.1"

    @Option(help: ArgumentHelp("Port to listen on; 0 takes any free one.", valueName: "number"))
    var port = 30000

    @Option(help: ArgumentHelp("Key that clients must send as a bearer token. (default: none)", valueName: "key"))
    var apiKey: String?

    @Option(help: ArgumentHelp("The model's name in OpenAI replies. (default: --model-path)", valueName: "name"))
    var servedModelName: String?

    @Flag(help: "Tell in OpenAI replies how many prompt tokens were found in the cache.")
    var enableCacheReport = false

    @Option(
        help: ArgumentHelp(
            "Tokens of a stream that go into one event, after the first: more cost the server and its clients less.",
            valueName: "tokens"))
    var streamInterval = 1

    @Flag(help: "Events of /generate hold what is new of text and output_ids, instead of everything so far.")
    var incrementalStreamingOutput = false

    @Option(help: ArgumentHelp("Seconds that running requests may take after Ctrl-C.", valueName: "seconds"))
    var shutdownTimeout = 30

    @Option(help: ArgumentHelp("Largest request body; more is refused with 413.", valueName: "bytes"))
    var maxRequestBytes = RequestLimits().bodyBytes

    @Option(
        help: ArgumentHelp(
            "Seconds in which a body must have come, and after which a connection is closed whose client reads nothing "
                + "of a reply; one that is idle after twice as long.", valueName: "seconds"))
    var requestTimeout = 60

    @Option(help: "How much is logged: debug, info, warning, error or critical.")
    var logLevel = LogLevelChoice.info

    @Option(help: "Where balancedness goes: off, server_log, prometheus or both; /metrics has it always.")
    var expertBalancednessReportMode = BalancednessReport.off

    @Flag(help: "The same as --expert-balancedness-report-mode server_log.")
    var enableExpertDistributionMetrics = false

    /// Whether balancedness is logged.
    var logsBalancedness: Bool {
        enableExpertDistributionMetrics || [.serverLog, .both].contains(expertBalancednessReportMode)
    }

    /// Seconds that a health check may take, if the environment says so.
    static var healthTimeout: Double? {
        ProcessInfo.processInfo.environment["SGLANG_HEALTH_CHECK_TIMEOUT"].flatMap(Double.init)
    }

    func validate() throws {
        guard (0...65535).contains(port) else {
            throw ValidationError("--port \(port): must be from 0 to 65535")
        }
        try EngineOptions.check("--stream-interval", streamInterval, in: 1...1 << 20)
        try EngineOptions.check("--shutdown-timeout", shutdownTimeout, in: 0...86_400)
        try EngineOptions.check("--max-request-bytes", maxRequestBytes, in: 1...1 << 32)
        try EngineOptions.check("--request-timeout", requestTimeout, in: 1...86_400)
        if let seconds = Self.healthTimeout, !(0.001...86_400).contains(seconds) {
            throw ValidationError("SGLANG_HEALTH_CHECK_TIMEOUT \(seconds): must be from 0.001 to 86400 seconds")
        }
        if apiKey?.isEmpty == true { throw ValidationError("--api-key: must not be empty") }
    }
}

extension ServerSettings {
    /// The settings that the flags ask for.
    init(_ options: ServeOptions, engine: EngineOptions, modelPath: String) {
        self.init(modelPath: modelPath, servedModelName: options.servedModelName ?? modelPath)
        host = options.host
        port = options.port
        apiKey = options.apiKey
        reportsCache = options.enableCacheReport
        streamInterval = options.streamInterval
        streamsIncrementally = options.incrementalStreamingOutput
        shutdownTimeout = .seconds(options.shutdownTimeout)
        limits.bodyBytes = options.maxRequestBytes
        limits.patience = .seconds(options.requestTimeout)
        limits.idleness = limits.patience * 2
        version = Switchyard.version
        if let seconds = ServeOptions.healthTimeout { healthTimeout = .seconds(seconds) }
        func optional(_ value: Int?) -> JSONValue { value.map { .int($0) } ?? .null }
        arguments = [
            "model_path": .string(modelPath),
            "tokenizer_path": .string(modelPath),
            "served_model_name": .string(servedModelName),
            "host": .string(host),
            "port": .int(port),
            "device": .string(engine.device.rawValue),
            "threads": optional(engine.threads),
            "packed_cache": engine.weights.packedCache.map { .string($0) } ?? .null,
            "dtype": .string(engine.weights.precision.dtype.rawValue),
            "quantization": engine.weights.precision.quantization.map { .string($0.rawValue) } ?? .null,
            "kv_cache_dtype": .string(engine.weights.precision.kvCacheDtype.rawValue),
            "context_length": optional(engine.contextLength),
            "max_running_requests": .int(engine.maxRunningRequests),
            "max_queued_requests": .int(engine.maxQueuedRequests),
            "max_total_tokens": optional(engine.maxTotalTokens),
            "chunked_prefill_size": .int(engine.chunkedPrefillSize),
            "schedule_policy": .string(engine.schedulePolicy.rawValue),
            "disable_radix_cache": .bool(engine.disableRadixCache),
            "enable_priority_scheduling": .bool(engine.enablePriorityScheduling),
            "priority_scheduling_preemption_threshold": .int(engine.prioritySchedulingPreemptionThreshold),
            "enable_cache_report": .bool(reportsCache),
            "stream_interval": .int(streamInterval),
            "incremental_streaming_output": .bool(streamsIncrementally),
            "random_seed": .int(Int(clamping: engine.randomSeed)),
            "log_level": .string(options.logLevel.rawValue),
            "tp_size": .int(1),
            "dp_size": .int(1),
            "ep_size": .int(1),
            "ep_num_redundant_experts": .int(engine.epNumRedundantExperts ?? 0),
            "init_expert_location": .string(engine.initExpertLocation),
            "enable_eplb": .bool(false),
            "expert_distribution_recorder_mode":
                engine.expertDistributionRecorderMode == .off
                ? .null : .string(engine.expertDistributionRecorderMode.rawValue),
            "expert_distribution_recorder_buffer_size": .int(engine.expertDistributionRecorderBufferSize),
            "shutdown_timeout": .int(options.shutdownTimeout),
            "max_request_bytes": .int(options.maxRequestBytes),
            "request_timeout": .int(options.requestTimeout),
        ]
    }
}
