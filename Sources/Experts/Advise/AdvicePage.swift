// AdvicePage: advice as one page that needs nothing else: verdicts, the table, gains as bars, balancedness over time.

/// Advice as a page.
public struct AdvicePage: Sendable {
    private let advices: [Advice]
    private let title: String
    private let facts: [String]

    /// A page.
    ///
    /// - Parameters:
    ///   - advices: one for each number of GPUs.
    ///   - title: what was advised on, such as file names.
    ///   - facts: windows, assumptions and the like, a line each.
    public init(_ advices: [Advice], title: String, facts: [String]) {
        self.advices = advices
        self.title = title
        self.facts = facts
    }

    /// The page.
    public func html() -> String {
        let escaped = SVGCanvas.escaped
        var body = "<h1>\(escaped(title))</h1>\n"
        for advice in advices {
            let kind = advice.verdict.answer.rawValue
            body +=
                "<p class=\"verdict \(kind.split(separator: " ").joined(separator: "-"))\"><b>\(advice.ranks) GPUs: \(kind).</b> "
            body += escaped(advice.verdict.reason) + "</p>\n"
        }
        body += "<ul>" + facts.map { "<li>\(escaped($0))</li>" }.joined() + "</ul>\n"
        body += "<table><thead><tr>"
        body += AdviceTable.header.map { "<th>\(escaped($0))</th>" }.joined() + "</tr></thead>\n<tbody>\n"
        for row in advices.flatMap(AdviceTable.rows) {
            let isBest = row[2].hasSuffix("*")
            body +=
                "<tr\(isBest ? " class=\"best\"" : "")>" + row.map { "<td>\(escaped($0))</td>" }.joined() + "</tr>\n"
        }
        body += "</tbody></table>\n"
        for advice in advices { body += AdviceChart(advice).svg() }
        return """
            <!doctype html>
            <html lang="en"><head><meta charset="utf-8"><title>\(escaped(title))</title>
            <meta name="viewport" content="width=device-width">
            <style>\(Self.style)</style></head>
            <body>
            \(body)</body></html>

            """
    }

    private static let style = """
        body{font:15px/1.5 system-ui,sans-serif;max-width:960px;margin:32px auto;padding:0 16px;color:#222}\
        h1{font-size:22px}ul{color:#666;padding-left:18px}\
        .verdict{padding:10px 14px;border-left:4px solid #888;background:#f6f6f6}\
        .worth-it{border-color:#2e8b57}.not-now{border-color:#c0392b}.record-more{border-color:#d9a400}\
        table{border-collapse:collapse;font-size:13px;width:100%;margin:20px 0}\
        th,td{padding:3px 8px;text-align:right;border-bottom:1px solid #eee;white-space:nowrap}\
        th{color:#666;font-weight:600}th:nth-child(3),td:nth-child(3){text-align:left}\
        tr.best{background:#e9f5ee;font-weight:600}svg{max-width:100%;height:auto;display:block;margin:24px 0}
        """
}

/// The pictures of one number of GPUs.
struct AdviceChart {
    private static let colours = ["#888", "#2e8b57", "#1f77b4", "#d9a400", "#8e44ad"]
    private let advice: Advice

    init(_ advice: Advice) { self.advice = advice }

    /// Gains as bars above, balancedness over the judged windows below.
    func svg() -> String {
        var canvas = SVGCanvas(width: SVGPlot.width)
        let bottom = drawGains(on: &canvas, top: 24)
        let end = drawTime(on: &canvas, top: bottom + 44)
        canvas.extend(to: end + 12)
        return canvas.document(title: "\(advice.ranks) GPUs")
    }

    private func drawGains(on canvas: inout SVGCanvas, top: Double) -> Double {
        let area = SVGPlot.heading(
            "\(advice.ranks) GPUs: expert-compute time saved against keeping the placement", on: &canvas, top: top)
        let (left, right, height) = (300.0, SVGPlot.width - 110, 18.0)
        // Errors belong to the picture, unless one is so large that it would flatten everything else.
        let reach = advice.gains.map { (gain: $0.gain, spread: $0.error.isFinite ? min(2 * $0.error, 0.3) : 0) }
        let most = max(0.01, reach.map { $0.gain + $0.spread }.max() ?? 0)
        let least = min(0, reach.map { $0.gain - $0.spread }.min() ?? 0)
        let unit = (right - left) / (most - least)
        let zero = left - least * unit
        for (index, gain) in advice.gains.enumerated() {
            let y = area + Double(index) * height
            let isBest = gain == advice.verdict.best
            let name = "\(gain.outcome.policy.name), \(gain.redundant) redundant"
            canvas.text(name, left - 8, y + 13, anchor: .end, bold: isBest)
            canvas.rectangle(
                zero + min(0, gain.gain) * unit, y + 3, abs(gain.gain) * unit, height - 6,
                fill: isBest ? Self.colours[1] : gain.gain < 0 ? "#e6b0aa" : "#9ecae1", hint: name)
            if gain.error.isFinite {
                let spread = reach[index].spread * unit
                let middle = zero + gain.gain * unit
                canvas.line(middle - spread, y + height / 2, middle + spread, y + height / 2, colour: SVGCanvas.ink)
            }
            canvas.text(AdviceTable.percent(gain.gain), right + 30, y + 13, colour: SVGCanvas.ink)
        }
        let bottom = area + Double(advice.gains.count) * height
        canvas.line(zero, area, zero, bottom, colour: SVGCanvas.faint)
        canvas.text("lines: twice the standard error", left, bottom + 14, size: 10, colour: SVGCanvas.faint)
        return bottom + 16
    }

    private func drawTime(on canvas: inout SVGCanvas, top: Double) -> Double {
        let area = SVGPlot.heading("Balancedness on the windows after those planned from", on: &canvas, top: top)
        let height = 150.0
        let bottom = area + height
        SVGPlot.grid(SVGPlot.Scale(largest: 1), on: &canvas, top: area, height: height, label: "balancedness")
        var shown = [("keep", advice.keep)]
        if let best = advice.verdict.best {
            shown.append((best.outcome.policy.name, best.outcome))
            let others = advice.gains.filter { $0.redundant == best.redundant && $0 != best }
            shown += others.sorted { $0.gain > $1.gain }.prefix(2).map { ($0.outcome.policy.name, $0.outcome) }
        }
        for (index, line) in shown.enumerated() {
            let count = line.1.windows.count
            var commands = ""
            for (window, cost) in line.1.windows.enumerated() {
                let x = SVGPlot.left + (Double(window) + 0.5) / Double(max(1, count)) * SVGPlot.inner
                commands += "\(commands.isEmpty ? "M" : "L")\(SVGCanvas.number(x)) "
                commands += SVGCanvas.number(bottom - cost.balancedness * height)
            }
            canvas.path(commands, stroke: Self.colours[index % Self.colours.count])
            canvas.text(
                line.0, SVGPlot.left + Double(index) * SVGPlot.inner / 4, bottom + 32, size: 11,
                colour: Self.colours[index % Self.colours.count])
        }
        let middle = SVGPlot.left + SVGPlot.inner / 2
        canvas.text("judged window", middle, bottom + 14, anchor: .middle, size: 10, colour: SVGCanvas.faint)
        return bottom + 36
    }
}
