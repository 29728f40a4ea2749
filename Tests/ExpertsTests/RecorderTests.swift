// The recorder against golden dumps, and its control sequences.

import Foundation
import Support
import Testing

@testable import Experts

/// The physical ids of one pass, `[tokens][K]` per layer that routed.
private struct PassInput: Decodable {
    var id: Int?
    var mode: Int?
    var ids: [String: [[Int32]]]

    enum CodingKeys: String, CodingKey {
        case id = "forward_pass_id"
        case mode = "forward_mode"
        case ids = "topk_ids"
    }

    /// Routes every layer through block alignment straight into the pass's rows.
    func counts(_ placement: Placement) throws -> PassCounts {
        let alignment = BlockAlignment()
        var pass = PassCounts(placement: placement)
        let tokens = ids.values.map { $0.count { $0.contains { $0 >= 0 } } }.max() ?? 0
        pass.begin(
            pass: id ?? 0, mode: mode.flatMap(ForwardMode.init(rawValue:)) ?? .decode, tokens: tokens,
            placement: placement)
        try pass.withMutableCounts { counts in
            for (layer, ids) in ids {
                let row = try #require(Int(layer)) * placement.physicalExperts
                try ids.flatMap { $0 }.withUnsafeBufferPointer {
                    try alignment.align(
                        BlockRule(experts: placement.physicalExperts, blockSize: 4), ids: $0,
                        countsInto: try #require(counts.baseAddress) + row)
                }
            }
        }
        return pass
    }
}

/// Counts in rows, as the goldens nest them.
private func flat(_ nested: [[[Int32]]]) -> [Int32] { nested.flatMap { $0.flatMap { $0 } } }

/// One pass whose only load is `count` pairs for slot 0 of layer 0.
private func pass(_ placement: Placement, _ count: Int32, tokens: Int = 1) -> PassCounts {
    var pass = PassCounts(placement: placement)
    pass.begin(pass: Int(count), mode: .decode, tokens: tokens, placement: placement)
    pass.withMutableCounts { $0[0] = count }
    return pass
}

extension Recorder {
    /// A recorder of counts for a placement.
    fileprivate convenience init(_ placement: Placement, capacity: RecorderSettings.Capacity) {
        self.init(
            layers: placement.layers, logicalExperts: placement.logicalExperts,
            physicalExperts: placement.physicalExperts, topK: 2, settings: .init(capacity: capacity))
    }
}

@Suite struct RecorderTests {
    private struct Input: Decodable {
        var map: [[Int]]
        var passes: [PassInput]

        enum CodingKeys: String, CodingKey {
            case passes
            case map = "physical_to_logical_map"
        }
    }

    private struct Expected: Decodable {
        var physical: [[[Int32]]]
        var logical: [[[Int32]]]
        var total: [[Int64]]
        var ranks: [[[Int]]]
        var rates: [[Float]]
        var passRates: [Float]
        var totalRates: [Float]
        var windows: [[String: Float]]

        enum CodingKeys: String, CodingKey {
            case physical = "global_physical_count_per_pass"
            case logical = "logical_count_per_pass"
            case total = "logical_count_total"
            case ranks = "gpu_physical_count_per_pass"
            case rates = "utilization_rate_per_pass_per_layer"
            case passRates = "utilization_rate_per_pass"
            case totalRates = "utilization_rate_total_per_layer"
            case windows = "window_mean_utilization"
        }
    }

    @Test(
        "the golden cases hold from ids to the dump file's bytes",
        arguments: ["tiny_identity", "redundant_8_to_12", "padded_rows", "window_12_passes"])
    func goldenCase(name: String) throws {
        let input = try Golden.decode(Input.self, "recorder/\(name)/input.json")
        let expected = try Golden.decode(Expected.self, "recorder/\(name)/expected.json")
        let placement = try Placement(
            rows: input.map, logicalExperts: expected.total[0].count, ranks: expected.ranks[0][0].count)
        let recorder = Recorder(placement, capacity: .unbounded)
        recorder.start()
        for (index, pass) in input.passes.enumerated() {
            let pass = try pass.counts(placement)
            #expect(pass.counts == expected.physical[index].flatMap { $0 })
            #expect(abs(pass.balancedness - expected.passRates[index]) <= 1e-6)
            recorder.append(pass)
            for (window, mean) in expected.windows[index] {
                let passes = try #require(Int(window))
                let found = try #require(recorder.balancedness.mean(last: passes))
                #expect(abs(found - mean) <= 1e-6)
            }
        }
        let snapshot = recorder.dump()
        #expect(snapshot.timeOrderedCounts() == flat(expected.logical))
        #expect(snapshot.totals == expected.total.flatMap { $0 })

        let golden = try StoredEntries(Array(Golden.data("recorder/\(name)/stat.pt")))
        let recording = Recording(snapshot)
        #expect(try golden.value() == recording.archive())
        let ours = try StoredEntries(recording.bytes(.pt))
        #expect(try ours.data("data.pkl") == golden.data("data.pkl"))
        #expect(try ours.data("data/0") == golden.data("data/0"))
    }

    @Test("rates of counts summed over passes equal the golden ones", arguments: ["tiny_identity", "window_12_passes"])
    func summedRates(name: String) throws {
        let expected = try Golden.decode(Expected.self, "recorder/\(name)/expected.json")
        for layer in expected.totalRates.indices {
            let sums = expected.physical[0][layer].indices.map { slot in
                expected.physical.reduce(0) { $0 + Int($1[layer][slot]) }
            }
            let rate = Balancedness.rate(ofLayer: sums, ranks: expected.ranks[0][0].count)
            #expect(abs(rate - expected.totalRates[layer]) <= 1e-6)
        }
    }

    @Test("a bounded recorder dumps all rows in storage order and keeps its write position")
    func circularBuffer() throws {
        struct Case: Decodable {
            var capacity: Int
            var dumpsAfter: [Int]
            var map: [[Int]]
            var passes: [PassInput]
            enum CodingKeys: String, CodingKey {
                case passes
                case capacity = "buffer_size"
                case dumpsAfter = "dumps_after_pass"
                case map = "physical_to_logical_map"
            }
        }
        let test = try Golden.decode(Case.self, "recorder/circular_buffer/case.json")
        let placement = try Placement(rows: test.map, logicalExperts: 4)
        let recorder = Recorder(placement, capacity: .passes(test.capacity))
        recorder.start()
        var dumps: [Snapshot] = []
        var history: [[Int32]] = []
        for (index, pass) in test.passes.enumerated() {
            let pass = try pass.counts(placement)
            recorder.append(pass)
            history.append(pass.counts)
            if test.dumpsAfter.contains(index + 1) { dumps.append(recorder.dump()) }
        }
        for (index, dump) in dumps.enumerated() {
            let golden = try StoredEntries(Array(Golden.data("recorder/circular_buffer/dump\(index).pt")))
            #expect(try golden.value() == Recording(dump).archive())
        }
        #expect(dumps.map(\.passes) == [5, 2])
        #expect(dumps[0].timeOrderedCounts() == history[2..<5].flatMap { $0 })
        #expect(dumps[1].timeOrderedCounts() == history[5..<7].flatMap { $0 })
        #expect(dumps[0].totals == (0..<8).map { cell in history[..<5].reduce(0) { $0 + Int64($1[cell]) } })
    }

    @Test("start forgets, stop keeps, dump hands out and forgets but changes no state", arguments: [4, -1])
    func controlSequence(setting: Int) throws {
        let placement = try Placement.trivial(layers: 1, logicalExperts: 2)
        let recorder = Recorder(placement, capacity: try #require(RecorderSettings.Capacity(setting: setting)))
        recorder.append(pass(placement, 1))
        #expect(recorder.recorded.passes == 0, "nothing before start")
        let firstStart = recorder.start()
        recorder.append(pass(placement, 2, tokens: 5))
        recorder.append(pass(placement, 3, tokens: 6))
        let stops = [recorder.stop(), recorder.stop()]
        #expect(!firstStart && stops == [true, false], "whether it was recording")
        recorder.append(pass(placement, 4))
        #expect(recorder.snapshot().totals == [5, 0], "nothing after stop, and a snapshot keeps")

        let first = recorder.dump()
        #expect(first.totals == [5, 0] && first.passes == 2 && first.tokens == 11)
        #expect(first.timeOrderedCounts() == [2, 0, 3, 0])
        #expect(!recorder.isRecording)

        recorder.start()
        recorder.append(pass(placement, 7))
        let running = recorder.dump()
        #expect(running.totals == [7, 0] && recorder.isRecording, "dump without stop")
        recorder.append(pass(placement, 8))
        let secondStart = recorder.start()
        recorder.append(pass(placement, 9))
        let restarted = recorder.dump()
        #expect(secondStart && restarted.totals == [9, 0], "a second start forgets too")
        let empty = recorder.dump()
        #expect(empty.passes == 0 && empty.tokens == 0 && empty.kept == 0)
        let rows = setting == -1 ? 0 : 4
        let counts = ArchiveTensor(shape: [rows, 1, 2], elements: .int32([Int32](repeating: 0, count: 2 * rows)))
        #expect(Recording(empty).archive()["logical_count"] == .tensor(counts))
        #expect(
            Recording(empty).archive(.time)["logical_count"] == .tensor(.init(shape: [0, 1, 2], elements: .int32([]))))
        #expect(empty.balancedness.mean(last: 1000) == nil)
    }

    @Test("an unbounded recorder keeps every pass across its chunks, also in a second recording")
    func unboundedGrowth() throws {
        let placement = try Placement.trivial(layers: 1, logicalExperts: 2)
        let recorder = Recorder(placement, capacity: .unbounded)
        for passes in [Int32(300), 3, 200_513] {
            recorder.start()
            for number in 0..<passes { recorder.append(pass(placement, number)) }
            let dump = recorder.dump()
            #expect(dump.timeOrderedCounts() == (0..<passes).flatMap { [$0, 0] })
            #expect(dump.kept == Int(passes) && dump.dropped == PassTally())
        }
    }

    @Test("counts from before and after a rebalance both fold by their own placement")
    func acrossPlacements() throws {
        let before = try Placement(rows: [[0, 1, 0]], logicalExperts: 2)
        let after = try Placement(rows: [[1, 0, 1]], logicalExperts: 2, epoch: 1)
        let recorder = Recorder(before, capacity: .passes(2))
        recorder.start()
        var pass = PassCounts(placement: before)
        for placement in [before, after] {
            pass.begin(pass: 1 + placement.epoch, mode: .extend, tokens: 3, placement: placement)
            pass.withMutableCounts { _ = $0.update(from: [4, 5, 6]) }
            recorder.append(pass)
        }
        let dump = recorder.dump()
        #expect(dump.timeOrderedCounts() == [10, 5, 5, 10])
        #expect(
            dump.totals == [15, 15] && dump.totals(of: .extend) == [15, 15] && dump.totals(of: .decode) == [0, 0])
        let recording = Recording(dump)
        #expect(recording.placements == [before, after] && recording.passes.map(\.placement) == [0, 1])
        #expect(recording.logicalCounts() == [10, 5, 5, 10])
    }

    @Test("beginning a pass clears the last one")
    func beginClears() throws {
        let placement = try Placement.trivial(layers: 2, logicalExperts: 2)
        var pass = pass(placement, 3)
        pass.begin(pass: 8, mode: .mixed, tokens: 9, placement: placement)
        #expect(pass.counts == [0, 0, 0, 0] && pass.id == 8 && pass.mode == .mixed && pass.tokens == 9)
        #expect(pass.balancedness == 1)
        let wider = try Placement.trivial(layers: 2, logicalExperts: 2, redundant: 2)
        pass.begin(pass: 9, mode: .idle, tokens: 0, placement: wider)
        #expect(pass.counts.count == 8)
    }

    @Test(
        "a buffer setting is positive or -1", arguments: [(1000, true), (1, true), (-1, true), (0, false), (-2, false)])
    func settings(setting: Int, isValid: Bool) {
        #expect((RecorderSettings.Capacity(setting: setting) != nil) == isValid)
    }

    @Test(
        "a dump that is put back is as if it had not been made",
        arguments: [RecorderSettings.Capacity.passes(4), .unbounded],
        0...6)
    func restore(capacity: RecorderSettings.Capacity, before: Int) throws {
        let placement = try Placement.trivial(layers: 2, logicalExperts: 3)
        for after in 0...6 {
            let recorder = Recorder(placement, capacity: capacity)
            let reference = Recorder(placement, capacity: capacity)
            recorder.start()
            reference.start()
            var random = SeededGenerator(seed: UInt64(before * 10 + after))
            func pass(_ id: Int) -> PassCounts {
                var counts = PassCounts(placement: placement)
                counts.begin(pass: id, mode: .decode, tokens: id, placement: placement)
                counts.withMutableCounts { row in
                    for index in row.indices { row[index] = Int32.random(in: 0...9, using: &random) }
                }
                return counts
            }
            let passes = (1...13).map(pass)
            for counts in passes.prefix(before) {
                recorder.append(counts)
                reference.append(counts)
            }
            let snapshot = recorder.dump()
            for counts in passes.dropFirst(before).prefix(after) {
                recorder.append(counts)
                reference.append(counts)
            }
            recorder.restore(snapshot)
            #expect(recorder.snapshot().timeOrderedCounts() == reference.snapshot().timeOrderedCounts())
            #expect(recorder.snapshot().totals == reference.snapshot().totals)
            #expect(Recording(recorder.snapshot()) == Recording(reference.snapshot()))
            #expect(recorder.recorded == reference.recorded)
            #expect(recorder.balancedness.mean(last: 3) == reference.balancedness.mean(last: 3))
        }
    }

    @Test("a window is right at every size, and snapshots keep what they saw", arguments: [1, 2, 3, 5, 8, 13, 40])
    func window(capacity: Int) throws {
        let placement = try Placement.trivial(layers: 1, logicalExperts: 2)
        let recorder = Recorder(placement, capacity: .passes(capacity))
        recorder.start()
        var snapshots: [(passes: Int, snapshot: Snapshot)] = []
        for number in 1...200 {
            recorder.append(pass(placement, Int32(number)))
            if number.isMultiple(of: 7) { snapshots.append((number, recorder.snapshot())) }
        }
        for (passes, snapshot) in snapshots {
            let kept = (1...passes).suffix(capacity)
            #expect(snapshot.timeOrderedCounts() == kept.flatMap { [Int32($0), 0] })
            #expect(snapshot.kept == kept.count && snapshot.passes == passes)
            #expect(snapshot.totals == [Int64(passes * (passes + 1) / 2), 0])
            #expect(Recording(snapshot).passes.map(\.id) == Array(kept))
        }
    }

    @Test("a full window takes no more memory, also after a reset")
    func steadyMemory() throws {
        let placement = try Placement.trivial(layers: 4, logicalExperts: 8)
        let recorder = Recorder(placement, capacity: .passes(16))
        for _ in 0..<3 {
            recorder.start()
            for number in 1...100 { recorder.append(pass(placement, Int32(number))) }
            #expect(recorder.chunksInHand <= 6)
        }
    }

    @Test("what a budget does not hold is dropped from the end on and counted, and sums go on")
    func budget() throws {
        let placement = try Placement.trivial(layers: 1, logicalExperts: 2)
        for mode in [RecorderMode.stat, .perPass] {
            let recorder = Recorder(
                layers: 1, logicalExperts: 2, physicalExperts: 2, topK: 1,
                settings: .init(mode: mode, capacity: .unbounded, byteBudget: 10 * (8 + PassRecord.size)))
            recorder.start()
            for number in 1...15 { recorder.append(pass(placement, Int32(number), tokens: 3)) }
            var dump = recorder.dump()
            #expect(dump.timeOrderedCounts() == (1...10).flatMap { [$0, 0] })
            #expect(
                dump.dropped == PassTally(passes: 5, tokens: 15) && dump.recorded == PassTally(passes: 15, tokens: 45))
            #expect(dump.totals == [120, 0])
            recorder.append(pass(placement, 16))
            dump = recorder.dump()
            #expect(dump.kept == 1 && dump.dropped == PassTally(), "a dump makes room")
        }
    }

    /// A recorder of passes with room for `passes` of them.
    private func perPass(room passes: Int) -> Recorder {
        Recorder(
            layers: 1, logicalExperts: 2, physicalExperts: 2, topK: 1,
            settings: .init(mode: .perPass, byteBudget: passes * (8 + PassRecord.size)))
    }

    @Test("behind a dump with dropped passes that is put back, no newer row hides the gap")
    func restoreDropped() throws {
        let placement = try Placement.trivial(layers: 1, logicalExperts: 2)
        let (recorder, reference) = (perPass(room: 4), perPass(room: 4))
        recorder.start()
        reference.start()
        for number in 1...9 { reference.append(pass(placement, Int32(number))) }
        for number in 1...6 { recorder.append(pass(placement, Int32(number))) }
        let dump = recorder.dump()
        #expect(dump.kept == 4 && dump.dropped.passes == 2)
        for number in 7...8 { recorder.append(pass(placement, Int32(number))) }
        recorder.restore(dump)
        recorder.append(pass(placement, 9))
        #expect(recorder.snapshot().timeOrderedCounts() == [1, 0, 2, 0, 3, 0, 4, 0])
        #expect(recorder.dropped == PassTally(passes: 5, tokens: 5) && recorder.recorded.passes == 9)
        #expect(Recording(recorder.dump()) == Recording(reference.dump()))
    }

    @Test("a dump that is put back pushes newer rows out of the budget, never itself")
    func restoreFull() throws {
        let placement = try Placement.trivial(layers: 1, logicalExperts: 2)
        let recorder = perPass(room: 4)
        recorder.start()
        for number in 1...3 { recorder.append(pass(placement, Int32(number))) }
        let dump = recorder.dump()
        for number in 4...6 { recorder.append(pass(placement, Int32(number))) }
        recorder.restore(dump)
        #expect(recorder.bytesInHand <= recorder.settings.byteBudget)
        #expect(recorder.snapshot().timeOrderedCounts() == [1, 0, 2, 0, 3, 0])
        #expect(recorder.dropped.passes == 3 && recorder.snapshot().totals == [21, 0])
        recorder.append(pass(placement, 7))
        #expect(recorder.snapshot().kept == 3 && recorder.dropped.passes == 4)
        recorder.start()
        for number in 1...9 { recorder.append(pass(placement, Int32(number))) }
        #expect(recorder.snapshot().kept == 4)
    }
}
