// Advice: costs equal a plain reference, plans are judged on later windows only, and verdicts are what the load deserves.

import Experts
import Foundation
import Support
import Testing

@Suite struct AdviseTests {
    /// Rows of `[L, E]` whose experts have these weights, each expert's count with chance of its own.
    private func series(
        rows: Int, layers: Int = 2, experts: Int, seed: UInt64 = 1, scale: Float = 400, noise: Float = 0.05,
        weight: (_ row: Int, _ layer: Int, _ expert: Int) -> Float
    ) throws -> LoadSeries {
        var random = SeededGenerator(seed: seed)
        var values: [Float] = []
        for row in 0..<rows {
            for layer in 0..<layers {
                for expert in 0..<experts {
                    let factor = 1 + Float.random(in: -noise...noise, using: &random)
                    values.append((weight(row, layer, expert) * scale * factor).rounded())
                }
            }
        }
        return try LoadSeries(values, layers: layers, experts: experts)
    }

    private func advice(_ series: LoadSeries, ranks: Int, slots: [Int], windowRows: Int? = 1) throws -> Advice {
        let replay = try Replay(series, windowRows: windowRows)
        let policies = Advice.policies(ranks: ranks, slots: slots, experts: series.experts, intervals: [1, 4])
        let kept = ReplayPolicy(.keep, ranks: ranks, slots: series.experts)
        return try Advice(replay, policies: policies, kept: kept, costs: ReplayCosts(bytesPerExpert: 1e6))
    }

    @Test("costs equal sums over rank loads", arguments: [1, 2, 3, 4])
    func judge(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let (experts, slots, ranks, layers) = (6, 9, 3, 3)
        let weights = (0..<layers * experts).map { _ in Float.random(in: 0...1, using: &random) }
        let series = try series(rows: 4, layers: layers, experts: experts, seed: seed) { _, layer, expert in
            layer == 1 ? 0 : weights[layer * experts + expert]
        }
        let placement = try PlacementPlan.balanced(
            load: series.total(), shape: PlanShape(slots: slots, ranks: ranks)
        ).placement
        for isWeighted in [false, true] {
            let shares = isWeighted ? try DispatchWeights(load: series.sum(0..<1), placement: placement) : nil
            let cost = PlacementJudge(placement, weights: shares).cost(series, rows: 1..<4)
            var (peak, mean, rates) = (0.0, 0.0, 0.0)
            for row in 1..<4 {
                let load = try series.sum(row..<row + 1)
                for layer in 0..<layers {
                    let loads =
                        shares.map { load.rankLoads(layer: layer, in: placement, weights: $0) }
                        ?? load.rankLoads(layer: layer, in: placement)
                    let (busiest, average) = (loads.max() ?? 0, loads.reduce(0, +) / Double(ranks))
                    peak += busiest
                    mean += average
                    rates += busiest > 0 ? average / busiest : 1
                }
            }
            #expect(abs(cost.peak - peak) < 1e-3 * peak && abs(cost.mean - mean) < 1e-3 * mean)
            #expect(abs(cost.balancedness - rates / Double(3 * layers)) < 1e-4)
        }
    }

    @Test("keep and once equal a plain replay of windows")
    func plainReference() throws {
        let series = try series(rows: 12, experts: 16, noise: 0.4) { row, _, expert in
            1 / Float(1 + (expert + row / 3) % 16)
        }
        let replay = try Replay(series, windowRows: 2)
        #expect(replay.windows == (0..<6).map { $0 * 2..<$0 * 2 + 2 } && replay.judged == 1..<6)
        let keep = try replay.run(ReplayPolicy(.keep, ranks: 4, slots: 16))
        let trivial = PlacementJudge(try Placement.trivial(layers: 2, logicalExperts: 16, ranks: 4))
        #expect(keep.windows == (1..<6).map { trivial.cost(series, rows: $0 * 2..<$0 * 2 + 2) })
        #expect(keep.transfers == 0 && keep.initialTransfers == 0)

        let full = try replay.run(ReplayPolicy(.full(every: 1), ranks: 4, slots: 20))
        for (index, cost) in full.windows.enumerated() {
            // Made from the window before, whatever comes later.
            let load = try series.sum(index * 2..<index * 2 + 2)
            let plan = try PlacementPlan.balanced(load: load, shape: PlanShape(slots: 20, ranks: 4)).placement
            #expect(PlacementJudge(plan).cost(series, rows: index * 2 + 2..<index * 2 + 4) == cost)
        }
        #expect(full.transfers > 0)
    }

    @Test("what comes later does not change what was planned before", arguments: [1, 4])
    func noForesight(interval: Int) throws {
        func outcome(later: Float) throws -> ReplayOutcome {
            let series = try series(rows: 16, experts: 8) { row, _, expert in
                row >= 12 && expert == 3 ? later : Float(1 + expert)
            }
            return try Replay(series, windowRows: 1).run(
                ReplayPolicy(.incremental(every: interval), ranks: 2, slots: 10))
        }
        let (calm, jump) = (try outcome(later: 4), try outcome(later: 400))
        #expect(calm.windows.prefix(8) == jump.windows.prefix(8))
        #expect(calm.windows.last != jump.windows.last)
    }

    @Test("even stationary load: not now", arguments: [1, 2, 3])
    func uniform(seed: UInt64) throws {
        let series = try series(rows: 24, experts: 64, seed: seed, noise: 0.1) { _, _, _ in 1 }
        let advice = try advice(series, ranks: 8, slots: [64, 72])
        #expect(advice.verdict.answer == .notNow, "\(advice.verdict.reason)")
        #expect(advice.keep.balancedness > 0.9)
    }

    @Test("strong lasting skew: worth it, and the simplest policy that does it")
    func skew() throws {
        let series = try series(rows: 24, experts: 64) { _, layer, expert in
            1 / Float(1 + (expert * (layer == 0 ? 1 : 11)) % 64)
        }
        let advice = try advice(series, ranks: 8, slots: [64, 72])
        #expect(advice.verdict.answer == .worthIt, "\(advice.verdict.reason)")
        let best = try #require(advice.verdict.best)
        #expect(best.outcome.policy.rule == .once && best.outcome.transfers == 0 && best.gain > 0.3)
        #expect(advice.verdict.reason.contains("nothing moves while serving"))
        let most = advice.gains.map(\.gain).max() ?? 0
        #expect(best.gain > most - 0.03)
    }

    @Test("load that wanders: re-planning beats a plan made once")
    func drift() throws {
        let series = try series(rows: 40, experts: 32, noise: 0.02) { row, _, expert in
            1 / Float(1 + (expert + 2 * (row / 8)) % 32)
        }
        let advice = try advice(series, ranks: 4, slots: [36])
        func gain(_ rule: ReplayPolicy.Rule) -> Double {
            advice.gains.first { $0.outcome.policy.rule == rule }?.gain ?? -1
        }
        #expect(gain(.full(every: 1)) > gain(.once) && gain(.incremental(every: 1)) > gain(.once))
        #expect(gain(.full(every: 1)) > gain(.full(every: 4)) - 0.01)
        let full = try #require(advice.gains.first { $0.outcome.policy.rule == .full(every: 1) })
        let few = try #require(advice.gains.first { $0.outcome.policy.rule == .incremental(every: 1) })
        #expect(few.outcome.transfers < full.outcome.transfers)
        #expect(full.transfersPerHour > 0 && full.bytesPerHour == full.transfersPerHour * 1e6)
        // 36 - 32 redundant slots on 4 ranks in 2 layers: 2 experts each.
        #expect(full.extraBytesPerRank == 2e6)
    }

    @Test("too few windows, or too few tokens in them: record more")
    func tooFew() throws {
        let few = try series(rows: 3, experts: 16) { _, _, expert in 1 / Float(1 + expert) }
        let first = try advice(few, ranks: 4, slots: [16])
        #expect(first.verdict.answer == .recordMore && first.verdict.reason.contains("Record 5 passes or more"))
        let thin = try series(rows: 20, experts: 16, scale: 2) { _, _, expert in 1 / Float(1 + expert) }
        let second = try advice(thin, ranks: 4, slots: [16])
        #expect(second.verdict.answer == .recordMore, "\(second.verdict.reason)")
        // Left to itself the replay makes windows long enough, of which there are then too few.
        let third = try advice(thin, ranks: 4, slots: [16], windowRows: nil)
        #expect(third.verdict.answer == .recordMore, "\(third.verdict.reason)")
    }

    @Test(
        "costs beyond all measure give a table and a verdict all the same",
        arguments: [
            ReplayCosts(bytesPerExpert: 1e300, rowSeconds: 1e-30), ReplayCosts(bytesPerExpert: 1e308),
            ReplayCosts(bytesPerExpert: 1e12, bandwidth: 1e-290), ReplayCosts(rowSeconds: 1e-300),
            ReplayCosts(bytesPerExpert: 1, bandwidth: .infinity, rowSeconds: 1e300),
        ])
    func extremeCosts(_ costs: ReplayCosts) throws {
        let series = try series(rows: 24, experts: 16) { row, _, expert in 1 / Float(1 + (expert + row) % 16) }
        let replay = try Replay(series, windowRows: 1)
        let advice = try Advice(
            replay, policies: Advice.policies(ranks: 4, slots: [16, 20], experts: 16, intervals: [1]),
            kept: ReplayPolicy(.keep, ranks: 4, slots: 16), costs: costs)
        let width = AdviceTable.header.count
        #expect(AdviceTable.rows(advice).allSatisfy { $0.count == width } && !advice.verdict.reason.isEmpty)
    }

    @Test("one row, and a shape that is impossible")
    func edges() throws {
        let series = try series(rows: 1, experts: 4) { _, _, _ in 1 }
        #expect(try advice(series, ranks: 2, slots: [4, 6]).verdict.answer == .recordMore)
        #expect(throws: PlanError.self) {
            try Replay(series).run(ReplayPolicy(.once, ranks: 3, slots: 4))
        }
        #expect(throws: PlanError.self) {
            try Replay(series).run(ReplayPolicy(.keep, ranks: 2, slots: 2))
        }
    }

    @Test("a spread recording has the counts of the trivial placement, or is refused")
    func spread() throws {
        let path = Golden.url("recorder/window_12_passes/stat.pt").path(percentEncoded: false)
        let recording = try Recording.read(path)
        let spread = try recording.spread(over: 3)
        #expect(spread.rankLoads()?.count == 3 && spread.logicalCounts() == recording.logicalCounts())
        #expect(throws: PlanError.self) { try recording.spread(over: 4) }
        #expect(throws: PlanError.self) { try recording.spread(over: 0) }
        let rates = try #require(spread.balancedness { _ in true })
        #expect(rates.count == recording.layers && rates.allSatisfy { (1.0 / 3...1).contains($0) })
    }
}
