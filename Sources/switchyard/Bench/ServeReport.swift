// ServeReport: what the clients of `bench serve` saw, as a table and as JSON; what sglang's bench_serving counts has its names.

import Foundation
import Measure

/// What the clients saw.
struct ServeReport: Encodable {
    /// The spread of a time, in milliseconds.
    struct Spread: Encodable {
        var mean: Double
        var median: Double
        var p90: Double
        var p99: Double
        var max: Double

        init(_ seconds: [Double]) {
            let values = seconds.isEmpty ? [0] : seconds.map { $0 * 1000 }
            mean = values.reduce(0, +) / Double(values.count)
            median = Measure.median(values)
            p90 = quantile(0.9, of: values)
            p99 = quantile(0.99, of: values)
            max = values.max() ?? 0
        }
    }

    var backend: String
    var baseUrl: String
    var requestRate: Double?
    var maxConcurrency: Int?
    var duration: Double
    var completed: Int
    var failed: Int
    /// How often which problem was met.
    var problems: [String: Int]
    var totalInputTokens: Int
    var totalOutputTokens: Int
    var requestThroughput: Double
    var inputThroughput: Double
    var outputThroughput: Double
    /// Requests under way on average.
    var concurrency: Double
    var ttftMs: Spread
    var tpotMs: Spread
    var itlMs: Spread
    var e2eMs: Spread
    /// Limits that a good request keeps; none, no goodput.
    var goodputLimits: [GoodputLimit]
    /// Good requests per second.
    var requestGoodput: Double?

    /// The report about `traces`, which took `seconds` together.
    init(_ options: BenchServe, _ traces: [RequestTrace], seconds: Double) {
        let complete = traces.filter { $0.problem == nil && !$0.arrivals.isEmpty }
        backend = options.backend.rawValue
        baseUrl = options.baseUrl
        requestRate = options.requestRate.isFinite ? options.requestRate : nil
        maxConcurrency = options.maxConcurrency
        duration = seconds
        completed = complete.count
        failed = traces.count - completed
        problems = Dictionary(
            traces.compactMap { $0.problem.map { ($0, 1) } ?? ($0.arrivals.isEmpty ? ("no token came", 1) : nil) },
            uniquingKeysWith: +)
        totalInputTokens = complete.reduce(0) { $0 + $1.promptTokens }
        totalOutputTokens = complete.reduce(0) { $0 + $1.tokens }
        requestThroughput = Double(completed) / seconds
        inputThroughput = Double(totalInputTokens) / seconds
        outputThroughput = Double(totalOutputTokens) / seconds
        concurrency = complete.reduce(0) { $0 + $1.end } / seconds
        ttftMs = Spread(complete.map(\.firstToken))
        tpotMs = Spread(complete.compactMap(\.perToken))
        itlMs = Spread(complete.flatMap(\.gaps))
        e2eMs = Spread(complete.map(\.end))
        goodputLimits = options.goodput
        if !goodputLimits.isEmpty {
            let limits = goodputLimits
            let good = complete.filter { trace in limits.allSatisfy { trace.keeps($0) } }
            requestGoodput = Double(good.count) / seconds
        }
    }

    /// Prints the report.
    func show(json: Bool) throws {
        guard !json else {
            let encoder = JSONEncoder()
            encoder.keyEncodingStrategy = .convertToSnakeCase
            encoder.outputFormatting = [.withoutEscapingSlashes, .prettyPrinted, .sortedKeys]
            Terminal.print(String(decoding: try encoder.encode(self), as: UTF8.self))
            return
        }
        Terminal.print(
            "\(baseUrl) (\(backend)): \(completed) requests in \(short(duration)) s, \(failed) failed; "
                + "\(short(concurrency)) under way on average")
        Terminal.print(
            "throughput: \(short(requestThroughput)) requests/s, \(short(inputThroughput)) prompt tokens/s, "
                + "\(short(outputThroughput)) generated tokens/s")
        if let requestGoodput {
            let limits = goodputLimits.map { "\($0.name) ≤ \(short($0.milliseconds)) ms" }.joined(separator: ", ")
            Terminal.print("goodput: \(short(requestGoodput)) requests/s with \(limits)")
        }
        let rows = [("ttft", ttftMs), ("tpot", tpotMs), ("itl", itlMs), ("e2e", e2eMs)].map { name, spread in
            [name] + [spread.mean, spread.median, spread.p90, spread.p99, spread.max].map(short)
        }
        Terminal.print(table([["ms", "mean", "median", "p90", "p99", "max"]] + rows))
        for (problem, count) in problems.sorted(by: { $0.value > $1.value }).prefix(5) {
            Terminal.error("\(count) × \(problem)")
        }
    }
}

extension RequestTrace {
    /// Seconds to the first token.
    fileprivate var firstToken: Double { arrivals.first?.seconds ?? 0 }
    /// Seconds to the last token.
    fileprivate var end: Double { arrivals.last?.seconds ?? 0 }

    /// Seconds per token after the first; nil for a single token.
    fileprivate var perToken: Double? {
        guard tokens > 1 else { return nil }
        return (end - firstToken) / Double(tokens - 1)
    }

    /// Seconds before each token after the first arrival; tokens that came together share their gap.
    fileprivate var gaps: [Double] {
        zip(arrivals, arrivals.dropFirst()).flatMap { before, after in
            let count = after.tokens - before.tokens
            return [Double](repeating: (after.seconds - before.seconds) / Double(count), count: count)
        }
    }

    /// Whether the request keeps `limit`.
    fileprivate func keeps(_ limit: GoodputLimit) -> Bool {
        let seconds =
            switch limit.name {
            case "ttft": firstToken
            case "tpot": perToken ?? 0
            default: end
            }
        return seconds * 1000 <= limit.milliseconds
    }
}
