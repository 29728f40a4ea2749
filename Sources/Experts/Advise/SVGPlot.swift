// SVGPlot: a recording as one picture: which experts are hot, which ranks carry how much, and how that changes.
//
// Bounded in size whatever the recording's: experts, layers, ranks and passes share cells, bars and points when there
// are too many, and a legend says so. A cell shows its busiest expert, so that binning cannot hide a hot one.

/// A picture of a recording.
public struct SVGPlot: Sendable {
    static let width = 960.0
    static let left = 64.0
    static let right = 96.0
    /// Width of the plotting area.
    static var inner: Double { width - left - right }

    private let recording: Recording
    private let name: String
    private let extent: String

    /// A picture of `recording`; `name` says what it is, such as its file's name.
    public init(_ recording: Recording, name: String = "") {
        self.recording = recording.withoutUnusedRows()
        extent = recording.extent
        self.name = name
    }

    /// The picture as an SVG document.
    public func svg() -> String {
        var canvas = SVGCanvas(width: Self.width)
        let title = ["Expert load", recording.model ?? "", name].filter { !$0.isEmpty }.joined(separator: " · ")
        canvas.text(title, Self.left, 32, size: 17, bold: true)
        canvas.text(facts, Self.left, 52, colour: SVGCanvas.faint)
        canvas.text(recording.hotSet().summary, Self.left, 70)
        var top = 104.0
        top = drawHeatMap(recording, on: &canvas, top: top)
        top = drawRanks(recording, on: &canvas, top: top + 36)
        top = drawTime(recording, on: &canvas, top: top + 36)
        canvas.extend(to: top + 16)
        return canvas.document(title: title)
    }

    private var facts: String {
        var facts = [
            "mode \(recording.mode.rawValue)", "\(recording.layers) layers", "\(recording.logicalExperts) experts",
        ]
        if let slots = recording.physicalExperts { facts.append("\(slots) slots") }
        if let topK = recording.topK { facts.append("top \(topK)") }
        facts.append(recording.passes.isEmpty ? extent : "\(recording.rows) passes kept")
        if let recorded = recording.recorded {
            facts.append("\(recorded.passes) recorded with \(recorded.tokens) tokens")
        }
        if recording.dropped.passes > 0 { facts.append("\(recording.dropped.passes) dropped for want of room") }
        return facts.joined(separator: ", ")
    }

    /// Draws a panel's title and returns where its area begins.
    static func heading(_ title: String, on canvas: inout SVGCanvas, top: Double) -> Double {
        canvas.text(title, left, top, size: 13, bold: true)
        return top + 14
    }

    /// The horizontal grid of a chart with its labels.
    static func grid(_ scale: Scale, on canvas: inout SVGCanvas, top: Double, height: Double, label: String) {
        for tick in scale.ticks {
            let y = top + height - tick / scale.top * height
            canvas.line(left, y, left + inner, y)
            canvas.text(short(tick), left - 6, y + 4, anchor: .end, size: 10, colour: SVGCanvas.faint)
        }
        canvas.text(label, 16, top + height / 2, anchor: .middle, size: 10, colour: SVGCanvas.faint, turned: true)
    }

    /// A number with at most three digits and a unit prefix: 1234 is 1.23k.
    static func short(_ value: Double) -> String {
        guard abs(value) < 1e27 else { return "-" }
        for (size, unit) in [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")] where abs(value) >= size {
            return rounded(value / size) + unit
        }
        return rounded(value)
    }

    private static func rounded(_ value: Double) -> String {
        let digits = abs(value) >= 100 ? 0 : abs(value) >= 10 ? 1 : 2
        let scale = [1.0, 10, 100][digits]
        let scaled = Int((value * scale).rounded())
        guard digits > 0 else { return "\(scaled)" }
        let fraction = String(abs(scaled) % Int(scale))
        var text = "\(scaled < 0 ? "-" : "")\(abs(scaled) / Int(scale))."
        text += String(repeating: "0", count: digits - fraction.count) + fraction
        while text.last == "0" { text.removeLast() }
        if text.last == "." { text.removeLast() }
        return text
    }

    /// A vertical axis from zero.
    struct Scale {
        /// The highest value shown.
        let top: Double
        let ticks: [Double]

        /// An axis that reaches `largest` with four or so round steps.
        init(largest: Double) {
            guard largest > 0, largest.isFinite else {
                (top, ticks) = (1, [0, 1])
                return
            }
            var unit = 1.0
            while unit * 10 <= largest / 4 { unit *= 10 }
            while unit > largest / 4 { unit /= 10 }
            let step = [1, 2, 5, 10].map { $0 * unit }.first { $0 * 5 >= largest } ?? unit * 10
            let count = (largest / step).rounded(.up)
            top = step * count
            ticks = (0...Int(count)).map { Double($0) * step }
        }
    }
}
