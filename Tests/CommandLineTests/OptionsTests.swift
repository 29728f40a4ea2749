import ArgumentParser
import Engine
import Experts
import Server
import Testing

@testable import switchyard

@Suite struct OptionsTests {
    private func serve(_ arguments: String...) throws -> Serve {
        try #require(try Switchyard.parseAsRoot(["serve"] + arguments) as? Serve)
    }

    /// What the user would read.
    private func message(_ arguments: [String]) -> String {
        do {
            _ = try Switchyard.parseAsRoot(arguments)
            return "no error"
        } catch {
            return Switchyard.message(for: error)
        }
    }

    @Test("defaults are sglang's, and the engine's own")
    func defaults() throws {
        let command = try serve()
        #expect(command.options.host == "127.0.0.1")
        #expect(command.options.port == 30000)
        #expect(command.options.shutdownTimeout == 30)
        #expect(command.engineOptions.modelPath == nil)
        let configuration = try command.engineOptions.configuration()
        #expect(configuration.maxRunningRequests == EngineConfiguration().maxRunningRequests)
        #expect(configuration.recorder == RecorderSettings())
        #expect(configuration.maxTotalTokens == nil)
        #expect("\(configuration.precision)" == "stored")
    }

    @Test("keys and values are kept as weights are multiplied, unless a flag says otherwise")
    func cacheType() throws {
        for (flags, type) in [
            ([], "float32"), (["--dtype", "bfloat16"], "bfloat16"), (["--quantization", "int8"], "bfloat16"),
            (["--kv-cache-dtype", "bf16"], "bfloat16"), (["--kv-cache-dtype=bfloat16"], "bfloat16"),
            (["--dtype", "bfloat16", "--kv-cache-dtype", "float32"], "float32"),
        ] {
            let command = try #require(try Serve.parseAsRoot(flags) as? Serve)
            #expect("\(try command.engineOptions.configuration().cacheType)" == type, "\(flags)")
        }
    }

    @Test("flags are spelled as in sglang")
    func flags() throws {
        let command = try serve(
            "--model", "folder", "--served-model-name", "name", "--host", "0.0.0.0", "--port", "1", "--api-key", "k",
            "--context-length", "2", "--max-running-requests", "3", "--max-queued-requests", "4",
            "--max-total-tokens", "5", "--chunked-prefill-size", "6", "--random-seed", "7", "--log-level", "debug",
            "--device", "cpu", "--threads", "8", "--schedule-policy", "lpm", "--disable-radix-cache",
            "--enable-priority-scheduling", "--priority-scheduling-preemption-threshold", "10",
            "--quantization", "int4",
            "--expert-distribution-recorder-mode", "off",
            "--expert-distribution-recorder-buffer-size", "-1", "--shutdown-timeout", "9", "--stream-interval", "7",
            "--incremental-streaming-output")
        #expect(command.engineOptions.modelPath == "folder")
        #expect(command.options.servedModelName == "name")
        #expect(command.options.apiKey == "k")
        #expect(command.options.logLevel == .debug)
        #expect(command.engineOptions.threads == 8)
        let configuration = try command.engineOptions.configuration()
        #expect(configuration.contextLength == 2)
        #expect(configuration.maxRunningRequests == 3)
        #expect(configuration.maxQueuedRequests == 4)
        #expect(configuration.maxTotalTokens == 5)
        #expect(configuration.chunkedPrefillSize == 6)
        #expect(configuration.randomSeed == 7)
        #expect(configuration.schedulePolicy == .longestPrefixMatch)
        #expect(!configuration.reusesPrefixes && configuration.usesPriorities)
        #expect(configuration.preemptionThreshold == 10)
        #expect("\(configuration.precision)" == "int5")
        #expect("\(try serve("--quantization", "int5").engineOptions.configuration().precision)" == "int5")
        let rounded = try serve("--dtype", "bfloat16")
        #expect("\(try rounded.engineOptions.configuration().precision)" == "bfloat16")
        #expect(
            ServerSettings(rounded.options, engine: rounded.engineOptions, modelPath: "a").arguments["dtype"]
                == .string("bfloat16"))
        let arguments = ServerSettings(command.options, engine: command.engineOptions, modelPath: "a").arguments
        #expect(arguments["quantization"] == .string("int5"))
        #expect(arguments["stream_interval"] == .int(7))
        #expect(arguments["incremental_streaming_output"] == .bool(true))
        #expect(configuration.recorder == nil)
        let recorder = try serve(
            "--expert-distribution-recorder-mode", "per_token", "--expert-distribution-recorder-buffer-size", "-1",
            "--expert-distribution-recorder-max-bytes", "1048576")
        #expect(
            try recorder.engineOptions.configuration().recorder
                == RecorderSettings(mode: .perToken, capacity: .unbounded, byteBudget: 1 << 20))
        #expect(try serve("--model-path", "a").engineOptions.modelPath == "a")
    }

    @Test("what the server is told follows the flags", arguments: [false, true])
    func settings(reportsCache: Bool) throws {
        let command = try reportsCache ? serve("--enable-cache-report", "--request-timeout", "7") : serve()
        let settings = ServerSettings(command.options, engine: command.engineOptions, modelPath: "a")
        #expect(settings.reportsCache == reportsCache)
        #expect(settings.arguments["enable_cache_report"] == .bool(reportsCache))
        #expect(settings.limits.patience == .seconds(reportsCache ? 7 : 60))
        #expect(settings.limits.idleness == settings.limits.patience * 2)
    }

    @Test("a device that is left open is the CPU, and one line says why")
    func fallback() throws {
        let line = try #require(try serve().engineOptions.fallback)
        #expect(line.hasPrefix("device=cpu why=\"") && !line.contains("\n"))
        #expect(try serve("--device", "cpu").engineOptions.fallback == nil)
    }

    @Test(
        "what this version cannot do is refused by name",
        arguments: [
            (["--device", "cuda"], "--device cuda"),
            (["--expert-distribution-recorder-mode", "everything"], "everything"),
            (["--expert-distribution-recorder-max-bytes", "5"], "--expert-distribution-recorder-max-bytes 5"),
            (["--schedule-policy", "random"], "random"),
            (["--packed-cache", ""], "--packed-cache: must name a folder"),
            (
                ["--quantization", "fp8"],
                "'fp8' is invalid for '--quantization <type>': weights are quantized while they are loaded, to int8 or int5"
            ),
            (["--stream-interval", "0"], "--stream-interval 0: must be from 1"),
            (["--kv-cache-dtype", "fp8_e5m2"], "Please provide one of 'auto', 'float32' or 'bfloat16'"),
            (["--quantization", "awq"], "use int8 or int5, or leave it out"),
            (["--quantization", "int8", "--dtype", "float32"], "--dtype float32: --quantization int8"),
            (["--dtype", "half"], "--dtype"),
            (["--port", "65536"], "--port 65536"), (["--threads", "0"], "--threads 0"),
            (["--max-running-requests", "0"], "--max-running-requests 0"),
            (["--expert-distribution-recorder-buffer-size", "0"], "-1 (keep all)"),
            (["--nonsense"], "--nonsense"),
        ])
    func refused(arguments: [String], text: String) {
        #expect(message(["serve"] + arguments).contains(text))
    }

    @Test("the heat map needs the recorder")
    func heatMap() {
        let arguments = [
            "generate", "--prompt", "a", "--show-experts", "--expert-distribution-recorder-mode", "off",
        ]
        #expect(message(arguments).contains("--show-experts needs"))
    }
}

@Suite struct ForeignFlagsTests {
    @Test("flags that tune GPUs are taken off with one warning each")
    func ignored() throws {
        let (arguments, warnings) = try ForeignFlags.strip([
            "serve", "--trust-remote-code", "--mem-fraction-static", "0.8", "--port", "1", "--attention-backend=triton",
            "--disable-cuda-graph", "--tp-size", "1", "--ep-size=1",
        ])
        #expect(arguments == ["serve", "--port", "1"])
        #expect(warnings.count == 4)
        #expect(warnings.allSatisfy { $0.hasPrefix("--") })
    }

    @Test(
        "what would change the server is an error",
        arguments: [["--tp-size", "2"], ["--dp-size=4"], ["--ep-size", "8"], ["--ep-size"], ["--tp"]])
    func refused(arguments: [String]) {
        #expect(throws: ValidationError.self) { try ForeignFlags.strip(["serve"] + arguments) }
    }

    @Test("a prompt is never mistaken for a flag")
    func prompts() throws {
        for arguments in [["generate", "--prompt", "--dp"], ["generate", "-p", "--tp"], ["a", "--", "--dp"]] {
            #expect(try ForeignFlags.strip(arguments).arguments == arguments)
        }
    }
}

@Suite struct ProgressBarTests {
    @Test("the bar shows bytes and per cent")
    func bar() {
        let progress = LoadProgress(completedBytes: 12_000_000, totalBytes: 24_000_000)
        #expect(ProgressBar.bar(progress, width: 4) == "loading [##..]  50 %  12 MB of 24 MB")
        #expect(ProgressBar.bar(LoadProgress(completedBytes: 0, totalBytes: 0), width: 2).contains("  0 %"))
    }

    @Test(
        "sizes have a unit and at most three digits",
        arguments: [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (35_650_000, "35.6 MB"), (2_000_000_000, "2 GB")])
    func sizes(bytes: Int, text: String) {
        #expect(ProgressBar.size(bytes) == text)
    }
}
