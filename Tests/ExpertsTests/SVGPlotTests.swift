// Plots: well-formed for any recording, bounded in size, and with the right numbers in the right places.

import Experts
import Foundation
import Support
import Testing

@Suite struct SVGPlotTests {
    /// A recording of `rows` passes whose expert `(7 · layer) mod E` is ten times as busy as the others.
    private func recording(
        layers: Int, experts: Int, rows: Int, ranks: Int = 1, model: String? = "m", isPhysical: Bool = true
    ) throws -> Recording {
        let placement = try Placement.trivial(layers: layers, logicalExperts: experts, ranks: ranks)
        let row = (0..<layers * experts).map { $0 % experts == $0 / experts * 7 % experts ? 100 : 10 as Int32 }
        var recording = try Recording(bytes: Array("{\"logical_count\": [[1]]}".utf8))
        recording.layers = layers
        recording.logicalExperts = experts
        recording.model = model
        if isPhysical {
            recording.placements = [placement]
            recording.passes = (0..<rows).map { .init(id: $0 + 1, mode: .decode, tokens: 1, placement: 0) }
        }
        let counts = Array(repeatElement(row, count: rows).joined())
        recording.counts = isPhysical ? .physical(counts) : .logical(counts)
        recording.totals = row.map { Int64($0) * Int64(rows) }
        return recording
    }

    @Test(
        "the picture is well-formed XML of bounded size",
        arguments: [(1, 1, 0), (1, 2, 1), (3, 60, 50), (61, 300, 5), (1, 4, 900)])
    func wellFormed(layers: Int, experts: Int, rows: Int) throws {
        for isPhysical in [true, false] where !isPhysical || rows > 0 {
            let svg = SVGPlot(
                try recording(layers: layers, experts: experts, rows: rows, isPhysical: isPhysical), name: "a.pt"
            ).svg()
            #expect(svg.utf8.count < 600_000)
            #expect(try Markup.isBalanced(svg))
            #expect(!svg.contains("nan") && !svg.contains("inf\""))
            for part in ["Load per layer and expert", "Load per rank", "Load over time", "1× = even", "A hot set"] {
                #expect(svg.contains(part))
            }
        }
    }

    @Test("texts are escaped")
    func escaped() throws {
        let plot = SVGPlot(try recording(layers: 1, experts: 2, rows: 1, model: "<&\"\u{1}>"), name: "</svg>")
        #expect(plot.svg().contains("&lt;&amp;&quot;\u{FFFD}&gt; · &lt;/svg&gt;"))
        #expect(try Markup.isBalanced(plot.svg()))
    }

    @Test("cells, bars and points are shared when there are too many, and a text says so")
    func binned() throws {
        let wide = SVGPlot(try recording(layers: 300, experts: 1000, rows: 1, ranks: 500)).svg()
        #expect(wide.utf8.count < 600_000)
        #expect(wide.contains("a cell: 8 experts of 4 layers, the busiest shown"))
        #expect(wide.contains("a bar: the busiest of 4"))
        let long = SVGPlot(try recording(layers: 1, experts: 2, rows: 1000)).svg()
        #expect(long.contains("a bar: the mean of 3"))
    }

    @Test("rank bars name their loads, and damaged totals draw nothing impossible")
    func ranks() throws {
        let svg = SVGPlot(try recording(layers: 1, experts: 4, rows: 3, ranks: 2)).svg()
        #expect(svg.contains("rank 0: 330 pairs") && svg.contains("rank 1: 60 pairs"))
        #expect(svg.contains("balancedness of the sums 0.59"))
    }
}

/// A minimal check of markup.
private enum Markup {
    /// Whether every element that begins also ends, inside the right one.
    static func isBalanced(_ text: String) throws -> Bool {
        var open: [Substring] = []
        for part in text.split(separator: "<", omittingEmptySubsequences: true) {
            guard let end = part.firstIndex(of: ">") else { return false }
            let tag = part[..<end]
            if tag.hasPrefix("/") {
                guard open.popLast() == tag.dropFirst() else { return false }
            } else if !tag.hasSuffix("/") {
                open.append(tag.prefix { !$0.isWhitespace })
            }
        }
        return open.isEmpty
    }
}
