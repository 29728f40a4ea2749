// ExpertsAdvise: `switchyard experts advise`: would rebalancing pay, known before anything is turned on.

import ArgumentParser
import Experts
import Foundation
import Measure

/// `switchyard experts advise`.
struct ExpertsAdvise: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "advise",
        abstract: "Try rebalancing policies on recorded load and say whether they pay.",
        discussion: """
            The passes are cut into windows. Every plan is made from windows that have passed and judged, pass by pass, on \
            those after it; the first quarter is history only. gain: expert-compute time saved against keeping the \
            placement, ±: twice its standard error. net: of all time, with expert layers taking --expert-share and \
            transfers paid for. once: planned from the history, as --init-expert-location would have it. weighted: replicas \
            share tokens by weight. Several files are one run, in order.

            Examples:
              switchyard experts advise recording.safetensors --gpus 8
              switchyard experts advise day1.pt day2.pt --gpus 16,32 --redundant 0,32 --bytes-per-expert 44e6
              switchyard experts advise recording.pt --gpus 8 --hidden 2048 --intermediate 1408 --dtype bf16 --html out.html
            """)

    @Argument(help: ArgumentHelp("Recordings, or windows of counts.", valueName: "file"))
    var files: [String]

    @Option(help: ArgumentHelp("Numbers of GPUs to try, such as 8,16. (default: as recorded)", valueName: "list"))
    var gpus: CountList?

    @Option(
        help: ArgumentHelp(
            "Numbers of redundant experts to try. (default: the fewest, and one and two more per GPU)",
            valueName: "list"))
    var redundant: CountList?

    @Option(help: ArgumentHelp("The present placement. (default: as recorded, else trivial)", valueName: "placement"))
    var from: String?

    @Option(
        help: ArgumentHelp("Passes per window. (default: so many that a window is not chance)", valueName: "passes"))
    var window: Int?

    @Option(help: ArgumentHelp("Windows between plans to try.", valueName: "list"))
    var intervals = CountList([1, 4])

    @OptionGroup(title: "Costs")
    var costs: CostOptions

    @Option(help: ArgumentHelp("Write a page with the table and plots.", valueName: "out.html"))
    var html: String?

    @Flag(help: "Print one JSON object instead of text.")
    var json = false

    func validate() throws {
        guard !files.isEmpty else { throw ValidationError("a recording is needed; see Examples") }
        try gpus?.check("--gpus", in: 1...MachineOptions.mostGPUs)
        try redundant?.check("--redundant", in: 0...MachineOptions.mostSlots)
        try intervals.check("--intervals", in: 1...1 << 16)
        if let window, window < 1 { throw ValidationError("--window \(window): must be 1 or more") }
    }

    func run() throws {
        var series = try ExpertsInput.load(files[0])
        for file in files.dropFirst() {
            let next = try ExpertsInput.load(file)
            do { try series.append(next) } catch {
                throw ExpertsFailure(
                    "\(file): counts \(next.layers) layers × \(next.experts) experts, \(files[0]) "
                        + "\(series.layers) × \(series.experts); give files of one model")
            }
        }
        if let window, window > series.rows {
            throw ExpertsFailure(
                "--window \(window): there are \(series.rows) passes in all; try \(max(1, series.rows / 8))")
        }
        let advices = try advise(series)
        let replay = try Replay(series, windowRows: window)
        let facts = facts(series, replay)
        if let html {
            let title = "Expert placement: " + files.map(ExpertsInput.name).joined(separator: ", ")
            try ExpertsOutput.write(AdvicePage(advices, title: title, facts: facts).html(), to: html, flag: "--html")
        }
        if json { return Terminal.print(try jsonReport(AdviceReport(advices, facts: facts))) }
        for fact in facts { Terminal.print(fact) }
        Terminal.print("")
        if !replay.judged.isEmpty {
            Terminal.print(table([AdviceTable.header] + advices.flatMap(AdviceTable.rows)))
            Terminal.print("")
        }
        for advice in advices {
            Terminal.print("\(advice.ranks) GPUs: \(advice.verdict.answer.rawValue). \(advice.verdict.reason)")
        }
    }

    private func advise(_ series: LoadSeries) throws -> [Advice] {
        let counts = gpus?.values ?? series.placement.flatMap { $0.ranks > 1 ? [$0.ranks] : nil }
        guard let counts else {
            throw ExpertsFailure(
                "--gpus: \(files[0]) does not say on how many GPUs the experts lie; give --gpus 8, or 8,16")
        }
        let replay = try Replay(series, windowRows: window)
        let plans = try counts.map { ranks in
            Advice.policies(
                ranks: ranks, slots: try slots(ranks: ranks, experts: series.experts), experts: series.experts,
                intervals: intervals.values)
        }
        let progress = StepProgress(steps: plans.reduce(0) { $0 + $1.count + 1 })
        defer { progress.finish() }
        return try zip(counts, plans).map { ranks, policies in
            let present = try from.map {
                try PlacementReference($0, flag: "--from").placement(series, ranks: ranks, recorded: nil)
            }
            let known = present ?? series.placement.flatMap { $0.ranks == ranks ? $0 : nil }
            let fewest = PlanShape.fewestSlots(experts: series.experts, ranks: ranks)
            let kept = ReplayPolicy(.keep, ranks: ranks, slots: known?.physicalExperts ?? fewest)
            do {
                return try Advice(
                    replay, policies: policies, kept: kept, present: known, costs: try costs.costs(),
                    progress: progress.advance)
            } catch let error as PlanError {
                throw ExpertsFailure("--gpus \(ranks): \(error.message(ranks: "GPUs"))")
            }
        }
    }

    /// Numbers of slots to try.
    private func slots(ranks: Int, experts: Int) throws -> [Int] {
        let fewest = PlanShape.fewestSlots(experts: experts, ranks: ranks)
        guard let redundant else { return (0...2).map { fewest + $0 * ranks } }
        return try redundant.values.map { count in
            guard (experts + count) % ranks == 0 else {
                let below = (experts + count) / ranks * ranks - experts
                let near = (below >= 0 ? [below] : []) + [below + ranks]
                throw ExpertsFailure(
                    "--redundant \(count): \(experts + count) slots do not divide among \(ranks) GPUs; try "
                        + near.map(String.init).joined(separator: " or "))
            }
            return experts + count
        }
    }

    private func facts(_ series: LoadSeries, _ replay: Replay) -> [String] {
        var facts = [
            "\(series.rows) passes of \(series.layers) layers × \(series.experts) experts; windows: \(replay.windows.count), "
                + "judged on the last \(replay.judged.count)",
            costs.fact,
        ]
        if !series.isOrdered {
            facts.append("the file does not number its passes; they are taken to be in order of time")
        }
        return facts
    }
}
