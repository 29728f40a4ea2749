// The terminal heat map, character by character.

import Experts
import Testing

@Suite struct TerminalHeatMapTests {
    @Test("cells, hottest expert, share and legend are as drawn here")
    func drawing() {
        let text = TerminalHeatMap().text([50, 0, 10, 20, 0, 0, 0, 0, 3, 3, 3, 1], experts: 4)
        #expect(
            text == """
                layer 0 |█ ░▒| e0    62.5 %
                layer 1 |    | idle
                layer 2 |███▒| e0    30.0 %
                " ░▒▓█" none to each layer's largest count; 1 cell = 1 expert; right: hottest expert and its share

                """)
    }

    @Test("the overall scale compares layers")
    func overallScale() {
        let lines = TerminalHeatMap(scale: .overall).text([8, 8, 2, 1], experts: 2, labels: ["a", "bb"])
            .split(separator: "\n")
        #expect(lines[0].hasPrefix(" a |██|"))
        #expect(lines[1].hasPrefix("bb |░░|"))
        #expect(lines[2].contains("none to 8;"))
    }

    @Test(
        "many experts fold into the width, and the busiest shows", arguments: [(512, 64, 64), (60, 64, 60), (60, 7, 7)])
    func folding(experts: Int, width: Int, cells: Int) throws {
        var counts = [Int](repeating: 0, count: experts)
        counts[experts - 1] = 5
        let line = try #require(
            TerminalHeatMap(width: width).text(counts, experts: experts).split(separator: "\n").first)
        let row = line.split(separator: "|")[1]
        #expect(row.count == cells)
        #expect(row.last == "█" && row.dropLast().allSatisfy { $0 == " " })
        #expect(line.hasSuffix("e\(experts - 1)" + (experts > 99 ? " " : "  ") + "100.0 %"))
    }

    @Test("colours are set per cell and reset at the row's end")
    func colours() {
        let text = TerminalHeatMap(palette: .ansi256).text([0, 9], experts: 2)
        #expect(text.hasPrefix("layer 0 |\u{1B}[48;5;16m \u{1B}[48;5;229m \u{1B}[0m| e1"))
    }

    @Test("no layers give the legend alone")
    func empty() {
        #expect(TerminalHeatMap().text([Int](), experts: 4).split(separator: "\n").count == 1)
    }
}
