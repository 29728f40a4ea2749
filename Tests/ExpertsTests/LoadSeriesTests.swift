// Load series: the same counts out of every file, sums over rows, and idle rows left out.

import Experts
import Foundation
import Support
import Testing

@Suite struct LoadSeriesTests {
    @Test(
        "stat, per_pass and per_token files of one run give the same total",
        arguments: ["tiny_identity", "redundant_8_to_12", "window_12_passes", "padded_rows"])
    func files(name: String) throws {
        let totals = try ["stat", "stat_v1", "per_pass", "per_token"].map { file in
            let path = Golden.url("recorder/\(name)/\(file).pt").path(percentEncoded: false)
            return try LoadSeries.read(path).total().values
        }
        #expect(totals.allSatisfy { $0 == totals[0] } && totals[0].contains { $0 > 0 })
    }

    @Test("tables alone and in an object, as JSON and as .pt")
    func tables() throws {
        for text in [
            "[[1, 2], [3, 4]]", "{\"logical_count\": [[1, 2], [3, 4]]}", " {\"logical_count\": [[[1, 2], [3, 4]]]}",
        ] {
            let series = try LoadSeries(bytes: Array(text.utf8), source: "x")
            #expect(series.values == [1, 2, 3, 4] && series.layers == 2 && series.experts == 2 && series.rows == 1)
        }
        let tensor = ArchiveTensor(shape: [2, 1, 2], elements: .float32([1, 2, 3, 4]))
        for value in [ArchiveValue.tensor(tensor), .dictionary([.init("logical_count", .tensor(tensor))])] {
            let series = try LoadSeries(bytes: try PyTorchArchive.bytes(value, root: "x"), source: "x")
            #expect(series.values == [1, 2, 3, 4] && series.rows == 2)
        }
        let bad = ArchiveTensor(shape: [1, 2], elements: .float32([1, .nan]))
        #expect(throws: ExpertFileError.load(source: "x", .loadNotFinite(layer: 0, expert: 1))) {
            try LoadSeries(bytes: try PyTorchArchive.bytes(.tensor(bad), root: "x"), source: "x")
        }
    }

    @Test("sums add rows, idle rows go, later rows follow")
    func sums() throws {
        var series = try LoadSeries([1, 2, 0, 0, 3, 4], layers: 1, experts: 2)
        #expect(try series.total().values == [4, 6] && series.pairs == 10)
        #expect(try series.sum(1..<3).values == [3, 4])
        series = try #require(series.withoutIdleRows())
        #expect(series.values == [1, 2, 3, 4])
        try series.append(try LoadSeries([5, 6], layers: 1, experts: 2))
        #expect(series.rows == 3)
        #expect(try LoadSeries([0, 0], layers: 1, experts: 2).withoutIdleRows() == nil)
        #expect(throws: PlanError.self) { try series.append(try LoadSeries([5, 6], layers: 2, experts: 1)) }
    }

    @Test("bytes of no meaning are refused, whatever they are")
    func hostile() throws {
        var random = SeededGenerator(seed: 3)
        let whole = try Golden.data("recorder/tiny_identity/stat.pt")
        for _ in 0..<200 {
            var bytes = Array(whole)
            for _ in 0..<4 {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = .random(in: 0...255, using: &random)
            }
            _ = try? LoadSeries(
                bytes: Array(bytes.prefix(Int.random(in: 0...bytes.count, using: &random))), source: "x")
        }
        let nested = String(repeating: "[", count: 400) + String(repeating: "]", count: 400)
        #expect(throws: ExpertFileError.self) { try LoadSeries(bytes: Array(nested.utf8), source: "x") }
        #expect(throws: ExpertFileError.self) { try LoadSeries(bytes: [], source: "x") }
    }
}
