// BenchRecorder: `switchyard bench recorder`: what recording costs, in pairs of short windows of real work.

import ArgumentParser
import Engine
import Experts
import Foundation
import Measure

/// `switchyard bench recorder`.
struct BenchRecorder: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "recorder",
        abstract: "What recording the expert distribution costs: off, stat, per_pass and per_token in turn.",
        discussion: """
            In every round each mode runs one short window of decoding and one of prefill, in random order, in one process. \
            A round's ratio is a mode's time over that without a recorder; printed are the median of the ratios and its \
            95 % confidence interval, and the share that recording measured on itself.

            Examples:
              switchyard bench recorder
              switchyard bench recorder --rounds 500 --json
            """)

    @OptionGroup(title: "Model and limits")
    var engineOptions: EngineOptions

    @Option(help: ArgumentHelp("Rounds.", valueName: "count"))
    var rounds = 150

    @Option(help: ArgumentHelp("Sequences that decode together.", valueName: "count"))
    var sequences = 4

    @Flag(help: "Print one JSON object instead of a table.")
    var json = false

    func validate() throws {
        try EngineOptions.check("--rounds", rounds, in: 6...100_000)
        try EngineOptions.check("--sequences", sequences, in: 1...engineOptions.maxRunningRequests)
    }

    /// One mode in one kind of work.
    struct Case: Encodable {
        var mode: String
        var work: String
        var ratio: Double
        var low: Double
        var high: Double
        var ownShare: Double

        enum CodingKeys: String, CodingKey {
            case mode, work, ratio, low, high
            case ownShare = "self_measured_share"
        }
    }

    private struct Report: Encodable {
        var machine = Machine.name
        var rounds: Int
        var cases: [Case]
    }

    private static let modes: [RecorderMode?] = [nil, .stat, .perPass, .perToken]

    func run() async throws {
        var options = engineOptions
        options.disableRadixCache = true  // every window must do the same work
        let model = try await LoadedModel(options)
        let engine = model.engine
        let context = engine.model.contextLength
        let decode = Window(
            name: "decode", sequences: sequences, prompt: min(8, context / 4), tokens: min(33, context / 4))
        let prefill = Window(name: "prefill", sequences: 1, prompt: min(256, context / 2), tokens: 1)
        var random = BenchGenerator(state: 1)
        var times: [String: [[Double]]] = [:]
        var shares: [String: [Double]] = [:]
        let progress = StepProgress(steps: rounds)
        for round in -1..<rounds {  // the first warms up
            for window in [decode, prefill] {
                var seconds = [Double](repeating: 0, count: Self.modes.count)
                for index in Self.modes.indices.shuffled(using: &random) {
                    await engine.replaceRecorder(Self.modes[index].map { RecorderSettings(mode: $0) })
                    if Self.modes[index] != nil { try await engine.startRecording() }
                    seconds[index] = try await window.run(engine)
                    guard round >= 0, let mode = Self.modes[index], let status = await engine.recordingStatus() else {
                        continue
                    }
                    shares["\(mode.rawValue) \(window.name)", default: []].append(status.cost)
                }
                if round >= 0 { times[window.name, default: []].append(seconds) }
            }
            if round >= 0 { progress.advance() }
        }
        progress.finish()
        await engine.shutdown(deadline: .zero)
        var cases: [Case] = []
        for window in [decode, prefill] {
            for (index, mode) in Self.modes.enumerated() {
                guard let mode, let rounds = times[window.name] else { continue }
                let ratios = rounds.map { $0[index] / $0[0] }
                let interval = Self.interval(ratios)
                cases.append(
                    Case(
                        mode: mode.rawValue, work: window.name, ratio: median(ratios), low: interval.low,
                        high: interval.high, ownShare: median(shares["\(mode.rawValue) \(window.name)"] ?? [])))
            }
        }
        try show(Report(rounds: rounds, cases: cases))
    }

    /// A 95 % confidence interval of the median, from order statistics; no assumption about the noise.
    static func interval(_ values: [Double]) -> (low: Double, high: Double) {
        let sorted = values.sorted()
        let half = 0.98 * Double(sorted.count).squareRoot()
        let low = Int((Double(sorted.count) / 2 - half).rounded(.down))
        let high = Int((Double(sorted.count) / 2 + half).rounded(.up))
        return (sorted[max(0, low)], sorted[min(sorted.count - 1, high)])
    }

    private func show(_ report: Report) throws {
        if json {
            Terminal.print(try jsonReport(report))
            return
        }
        func digits(_ value: Double) -> String { String(format: "%.4f", value) }
        Terminal.print("machine: \(report.machine); \(report.rounds) rounds; time with recording over time without")
        var rows = [["work", "mode", "ratio", "95 % interval", "measured on itself"]]
        for found in report.cases {
            rows.append([
                found.work, found.mode, digits(found.ratio), "\(digits(found.low)) … \(digits(found.high))",
                String(format: "%.3f %%", found.ownShare * 100),
            ])
        }
        Terminal.print(table(rows))
    }
}

/// Work of one kind: some requests, together, to their end.
private struct Window {
    var name: String
    var sequences: Int
    var prompt: Int
    var tokens: Int

    /// Seconds from the first submission to the last token.
    func run(_ engine: Engine) async throws -> Double {
        var sampling = SamplingParameters()
        sampling.temperature = 0
        sampling.maxNewTokens = tokens
        sampling.ignoreEOS = true
        let vocabulary = engine.model.vocabularySize
        let start = ContinuousClock.now
        var streams: [GenerationStream] = []
        for sequence in 0..<sequences {
            let ids = (0..<max(1, prompt)).map { Int32((sequence * 7919 + $0 * 104_729 + 13) % vocabulary) }
            streams.append(
                try await engine.submit(
                    GenerationRequest(id: "bench-\(sequence)", promptIDs: ids, sampling: sampling)))
        }
        for stream in streams {
            for await _ in stream {}
        }
        return (ContinuousClock.now - start) / .seconds(1)
    }
}
