// BenchServe: `switchyard bench serve`: load on a server that runs, ours or another, and what its clients saw.

import ArgumentParser
import Foundation

/// `switchyard bench serve`.
struct BenchServe: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "A running server: times to tokens, throughput and goodput under a load of streams.",
        discussion: """
            Prompts are random token ids, or the texts of --prompts, a file with one JSON object {"prompt": …} per line. \
            Every request streams, and generates exactly --output-len tokens.

            ttft: time to first token; itl: between two tokens; tpot: per token after the first; e2e: to the last. A late \
            arrival counts: times begin when a request was due to be sent, unless --max-concurrency held it back.

            Examples:
              switchyard bench serve --num-prompts 100 --max-concurrency 32
              switchyard bench serve --base-url http://10.0.0.5:8000 --backend openai --model m --request-rate 4
              switchyard bench serve --request-rate 8 --goodput ttft:200 --goodput tpot:50 --json
            """)

    @Option(help: ArgumentHelp("Where the server listens; http only.", valueName: "url"))
    var baseUrl = "http://127.0.0.1:30000"

    @Option(help: "sglang: POST /generate; openai: POST /v1/completions, as vLLM and others have it.")
    var backend = ServeBackend.sglang

    @Option(help: ArgumentHelp("Requests in all.", valueName: "count"))
    var numPrompts = 100

    @Option(
        help: ArgumentHelp("Mean arrivals per second, at random moments; inf sends all at once.", valueName: "rate"))
    var requestRate = Double.infinity

    @Option(help: ArgumentHelp("Requests under way at most. (default: no limit)", valueName: "count"))
    var maxConcurrency: Int?

    @Option(help: ArgumentHelp("Tokens of a random prompt.", valueName: "tokens"))
    var inputLen = 64

    @Option(help: ArgumentHelp("Tokens that all random prompts begin with, beside --input-len.", valueName: "tokens"))
    var prefixLen = 0

    @Option(help: ArgumentHelp("Tokens to generate.", valueName: "tokens"))
    var outputLen = 32

    @Option(help: ArgumentHelp("File of prompts, used in turn, instead of random ones.", valueName: "file"))
    var prompts: String?

    @Option(help: ArgumentHelp("The model's name in the requests of --backend openai.", valueName: "name"))
    var model = "default"

    @Option(help: ArgumentHelp("Bearer token. (default: none)", valueName: "key"))
    var apiKey: String?

    @Option(
        help: ArgumentHelp(
            "Limit that a request must keep to be good: ttft, tpot or e2e, and milliseconds; repeatable.",
            valueName: "name:ms"))
    var goodput: [GoodputLimit] = []

    @Option(help: ArgumentHelp("Requests before the measured ones.", valueName: "count"))
    var warmup = 1

    @Option(help: ArgumentHelp("Seconds after which a request has failed.", valueName: "seconds"))
    var timeout = 600

    @Option(help: ArgumentHelp("What prompts and arrivals depend on.", valueName: "number"))
    var seed: UInt64 = 1

    @Flag(help: "Print JSON.")
    var json = false

    func validate() throws {
        guard requestRate > 0 else { throw ValidationError("--request-rate \(requestRate): must be above 0, or inf") }
        try EngineOptions.check("--num-prompts", numPrompts, in: 1...10_000_000)
        try EngineOptions.check("--max-concurrency", maxConcurrency, in: 1...100_000)
        try EngineOptions.check("--input-len", inputLen, in: 1...1 << 24)
        try EngineOptions.check("--prefix-len", prefixLen, in: 0...1 << 24)
        try EngineOptions.check("--output-len", outputLen, in: 1...1 << 24)
        try EngineOptions.check("--warmup", warmup, in: 0...10_000)
        try EngineOptions.check("--timeout", timeout, in: 1...86_400)
        _ = try StreamClient(self)
    }

    func run() async throws {
        let client = try StreamClient(self)
        let load = try ServeLoad(self)
        for number in 0..<warmup {
            let trace = await client.ask(load.prompt(numPrompts + number), due: .now)
            if let problem = trace.problem { throw ServerProblem(url: baseUrl, reason: problem) }
        }
        let progress = StepProgress(steps: numPrompts)
        let begin = ContinuousClock.now
        let traces = await withTaskGroup(of: RequestTrace.self) { group in
            var traces: [RequestTrace] = []
            traces.reserveCapacity(numPrompts)
            func collect() async {
                guard let trace = await group.next() else { return }
                traces.append(trace)
                progress.advance()
            }
            var running = 0
            for number in 0..<numPrompts {
                let due = begin + .seconds(load.arrivals[number])
                try? await Task.sleep(until: due, clock: .continuous)
                var start = due
                if let limit = maxConcurrency, running == limit {
                    await collect()
                    running -= 1
                    start = .now
                }
                running += 1
                let prompt = load.prompt(number)
                group.addTask { [start] in await client.ask(prompt, due: start) }
            }
            while traces.count < numPrompts { await collect() }
            return traces
        }
        let duration = ContinuousClock.now - begin
        progress.finish()
        let report = ServeReport(self, traces, seconds: duration / .seconds(1))
        try report.show(json: json)
        if report.completed == 0 { throw ServerProblem(url: baseUrl, reason: report.problems.keys.first ?? "no reply") }
    }
}

/// Which API a server speaks.
enum ServeBackend: String, ExpressibleByArgument, CaseIterable {
    case sglang, openai

    init?(argument: String) {
        // The names by which other load generators know them.
        switch argument {
        case "sglang", "sglang-native", "generate": self = .sglang
        case "openai", "vllm", "sglang-oai", "completions": self = .openai
        default: return nil
        }
    }
}

/// A limit such as `ttft:200`.
struct GoodputLimit: ExpressibleByArgument, Encodable {
    var name: String
    var milliseconds: Double

    init?(argument: String) {
        let parts = argument.split(separator: ":")
        guard parts.count == 2, ["ttft", "tpot", "e2e"].contains(parts[0]), let limit = Double(parts[1]), limit > 0
        else { return nil }
        (name, milliseconds) = (String(parts[0]), limit)
    }
}

/// A server that cannot be measured.
struct ServerProblem: Error, CustomStringConvertible {
    var url: String
    var reason: String

    var description: String { "bench serve: \(url): \(reason)" }
}
