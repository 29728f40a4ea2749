// Other engines' round buffers: rows that were never used count nowhere as passes.

import Experts
import Foundation
import Support
import Testing

@Suite struct RecordingUsedTests {
    /// A dump of `rows` rows of one layer, the used ones as given.
    private func dump(rows: Int, used: [Int: [Int32]], experts: Int) throws -> Recording {
        let counts = (0..<rows).flatMap { used[$0] ?? [Int32](repeating: 0, count: experts) }
        let value = ArchiveValue.dictionary([
            .init("rank", .int(0)),
            .init("logical_count", .tensor(ArchiveTensor(shape: [rows, 1, experts], elements: .int32(counts)))),
            .init("average_utilization_rate_over_window", .null),
        ])
        return try Recording(bytes: PyTorchArchive.bytes(value, root: "r"))
    }

    @Test("balancedness is that of the used rows, which a text counts")
    func balancedness() throws {
        let rows = Dictionary(uniqueKeysWithValues: (3..<9).map { ($0, [Int32(30 * $0), Int32(10 * $0), 0, 0]) })
        let recording = try dump(rows: 1000, used: rows, experts: 4)
        #expect(recording.rows == 1000 && recording.usedRows == 6 && recording.extent == "6 of 1000 rows used")
        let spread = try recording.spread(over: 2)
        #expect(spread.extent == recording.extent)
        // All load lies on the first of two ranks.
        let rates = try #require(spread.balancedness { _ in true })
        #expect(rates.count == 1 && abs(rates[0] - 0.5) < 1e-6)
        let window = try #require(spread.balancednessWindow())
        #expect(window.count == 6 && abs((window.mean(last: 1000) ?? 0) - 0.5) < 1e-6)
        #expect(spread.rankLoads() == [33 * 40, 0])
        #expect(spread.balancedness { $0.mode == .decode } == nil, "nobody knows which passes they were")
    }

    @Test("the rows of a round buffer are in no order, so there are no halves to compare, on any number of ranks")
    func halves() throws {
        let rows = [0: [900, 100, 0, 0], 1: [0, 0, 100, 900]] as [Int: [Int32]]
        let recording = try dump(rows: 2, used: rows, experts: 4)
        #expect(recording.hotSet().stability == nil)
        #expect(try recording.spread(over: 2).hotSet().stability == nil)
    }

    @Test("the picture draws the used rows over time and says how many they are")
    func plot() throws {
        let few = try dump(rows: 1000, used: [5: [3, 1], 7: [1, 3]], experts: 2)
        let svg = SVGPlot(few).svg()
        #expect(svg.contains("2 of 1000 rows used") && !svg.contains("a bar: the mean of"))
        let alone = try dump(rows: 2, used: [0: [3, 1], 1: [1, 3]], experts: 2)
        let panel = { (svg: String) in svg.components(separatedBy: "Load over time").last ?? "" }
        #expect(panel(svg) == panel(SVGPlot(alone).svg()))
        #expect(SVGPlot(try few.spread(over: 2)).svg().contains("2 of 1000 rows used"))
    }

    @Test("a known pass without load is a pass")
    func known() throws {
        var recording = try dump(rows: 3, used: [1: [2, 2]], experts: 2)
        recording.passes = (1...3).map { .init(id: $0) }
        #expect(recording.usedRows == 3 && recording.extent == "3 passes" && recording.withoutUnusedRows() == recording)
    }

    @Test("what never counted anything has no balancedness and draws nothing impossible")
    func empty() throws {
        let recording = try dump(rows: 4, used: [:], experts: 2)
        #expect(recording.usedRows == 0 && recording.extent == "0 of 4 rows used")
        #expect(try recording.spread(over: 2).balancedness { _ in true } == nil)
        #expect(!SVGPlot(recording).svg().contains("nan"))
    }

    @Test("rows that count more than 32 bits hold together are even where they are even")
    func large() throws {
        let recording = try dump(rows: 1, used: [0: [Int32](repeating: .max, count: 4)], experts: 4)
        let rates = try #require(try recording.spread(over: 2).balancedness { _ in true })
        #expect(rates == [1])
    }

    @Test("our own archives know the slots where each expert is its own")
    func own() throws {
        let placement = try Placement.trivial(layers: 1, logicalExperts: 4, ranks: 2)
        let recorder = Recorder(layers: 1, logicalExperts: 4, physicalExperts: 4, topK: 1, settings: .init())
        recorder.start()
        var pass = PassCounts(placement: placement)
        pass.begin(pass: 1, mode: .decode, tokens: 4, placement: placement)
        pass.withMutableCounts { _ = $0.update(from: [3, 0, 1, 0]) }
        recorder.append(pass)
        let read = try Recording(bytes: Recording(recorder.dump()).bytes(.pt))
        #expect(read.rankLoads() == [3, 1])
    }
}
