// TerminalHeatMap: expert load as text, one row per layer and one cell per expert.
//
// Example, two layers of four experts:
//     layer 0 |█ ░▒| e0    62.5 %
//     layer 1 |▒▒▒█| e3    40.0 %

/// A heat map of counts `[L, E]` for a terminal.
public struct TerminalHeatMap: Sendable, Equatable {
    /// What a full cell stands for.
    public enum Scale: Sendable, Equatable {
        /// The row's largest count: shows the skew inside every layer.
        case perLayer
        /// The map's largest count: shows which layers are busy.
        case overall
    }

    /// How a cell is drawn.
    public enum Palette: Sendable, Equatable {
        /// Five shades, from a space for no load at all to a full block.
        case shades
        /// A background colour out of the 256 of ANSI terminals.
        case ansi256
    }

    /// Cells per row at most; more experts than this share cells, each showing its busiest expert.
    public var width: Int
    /// What a full cell stands for.
    public var scale: Scale
    /// How a cell is drawn.
    public var palette: Palette

    /// A way to draw.
    public init(width: Int = 64, scale: Scale = .perLayer, palette: Palette = .shades) {
        precondition(width > 0, "a heat map of \(width) cells")
        self.width = width
        self.scale = scale
        self.palette = palette
    }

    /// Draws the map, with each layer's hottest expert and its share of the layer's load, and a legend below.
    ///
    /// - Parameters:
    ///   - counts: load per expert, `[L, E]`, row-major, none negative.
    ///   - experts: E.
    ///   - labels: names of the rows, L of them; nil numbers them.
    /// - Returns: L + 1 lines, each ended by a newline.
    public func text<Count: BinaryInteger>(_ counts: [Count], experts: Int, labels: [String]? = nil) -> String {
        precondition(experts > 0 && counts.count % experts == 0, "\(counts.count) counts in rows of \(experts)")
        let layers = counts.count / experts
        precondition(labels.map { $0.count == layers } ?? true, "\(labels?.count ?? 0) labels for \(layers) layers")
        let labels = labels ?? (0..<layers).map { "layer \($0)" }
        let labelWidth = labels.map(\.count).max() ?? 0
        let perCell = (experts + width - 1) / width
        let largest = Int(clamping: counts.max() ?? 0)

        var text = ""
        for layer in 0..<layers {
            let row = counts[layer * experts..<(layer + 1) * experts].map { Int(clamping: $0) }
            let top = scale == .perLayer ? row.max() ?? 0 : largest
            let cells = stride(from: 0, to: experts, by: perCell).map { first in
                row[first..<min(first + perCell, experts)].max() ?? 0
            }
            let padding = String(repeating: " ", count: labelWidth - labels[layer].count)
            text += padding + labels[layer] + " |" + cells.map { cell($0, top) }.joined() + reset + "|"
            text += hottest(row) + "\n"
        }
        return text + legend(perCell: perCell, largest: largest) + "\n"
    }

    private static let shades: [Character] = [" ", "░", "▒", "▓", "█"]
    /// Dark blue through violet and orange to pale yellow, lighter with load.
    private static let colours = [16, 17, 18, 54, 90, 126, 162, 203, 209, 215, 222, 229]

    private var reset: String { palette == .ansi256 ? "\u{1B}[0m" : "" }

    private func cell(_ count: Int, _ top: Int) -> String {
        switch palette {
        case .shades: String(Self.shades[level(count, top, of: Self.shades.count)])
        case .ansi256: "\u{1B}[48;5;\(Self.colours[level(count, top, of: Self.colours.count)])m "
        }
    }

    /// 0 only for no load; equal steps above it, so that the top count alone need not be the top level.
    private func level(_ count: Int, _ top: Int, of levels: Int) -> Int {
        guard count > 0, top > 0 else { return 0 }
        return max(1, Int((Double(count) / Double(top) * Double(levels - 1)).rounded(.up)))
    }

    /// The busiest expert, the lower id on a tie, and its share of the row in per cent.
    private func hottest(_ row: [Int]) -> String {
        guard let top = row.max(), top > 0, let expert = row.firstIndex(of: top) else { return " idle" }
        let tenths = Int((Double(top) / row.reduce(0) { $0 + Double($1) } * 1000).rounded())
        let name = "e\(expert)"
        let share = "\(tenths / 10).\(tenths % 10) %"
        let column = { (text: String, width: Int) in String(repeating: " ", count: max(0, width - text.count)) }
        return " " + name + column(name, 5) + column(share, 7) + share
    }

    private func legend(perCell: Int, largest: Int) -> String {
        let ramp =
            switch palette {
            case .shades: "\"\(String(Self.shades))\""
            case .ansi256: Self.colours.map { "\u{1B}[48;5;\($0)m " }.joined() + reset
            }
        let full = scale == .perLayer ? "each layer's largest count" : "\(largest)"
        let cell = perCell == 1 ? "1 cell = 1 expert" : "1 cell = \(perCell) experts, the busiest shown"
        return "\(ramp) none to \(full); \(cell); right: hottest expert and its share"
    }
}
