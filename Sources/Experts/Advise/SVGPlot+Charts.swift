// The charts of a plot: pairs per rank as bars, pairs per pass and the hottest expert's share over time.

extension SVGPlot {
    private static let chartHeight = 130.0
    private static let mostBars = 128
    private static let mostPoints = 400

    /// Draws the ranks' loads and returns where the panel ends.
    func drawRanks(_ recording: Recording, on canvas: inout SVGCanvas, top: Double) -> Double {
        let area = Self.heading("Load per rank", on: &canvas, top: top)
        guard let loads = recording.rankLoads() else {
            canvas.text(
                "The file does not say to which slot each pair went.", Self.left, area + 14, colour: SVGCanvas.faint)
            return area + 20
        }
        let perBar = (loads.count + Self.mostBars - 1) / Self.mostBars
        let bars = stride(from: 0, to: loads.count, by: perBar).map { first in
            loads[first..<min(first + perBar, loads.count)].max() ?? 0
        }
        let scale = Scale(largest: Double(bars.max() ?? 0))
        Self.grid(scale, on: &canvas, top: area, height: Self.chartHeight, label: "pairs")
        let step = Self.inner / Double(bars.count)
        let width = min(48, step * 0.8)
        let bottom = area + Self.chartHeight
        for (bar, load) in bars.enumerated() {
            let middle = Self.left + (Double(bar) + 0.5) * step
            let height = Double(load) / scale.top * Self.chartHeight
            canvas.rectangle(
                middle - width / 2, bottom - height, width, height, fill: "#6baed6",
                hint: "rank \(bar * perBar): \(load) pairs")
            if bar % max(1, (bars.count + 31) / 32) == 0 {
                let name = "\(bar * perBar)"
                canvas.text(name, middle, bottom + 14, anchor: .middle, size: 10, colour: SVGCanvas.faint)
            }
        }
        let mean = Double(loads.reduce(0, +)) / Double(loads.count)
        let y = bottom - mean / scale.top * Self.chartHeight
        canvas.line(Self.left, y, Self.left + Self.inner, y, colour: SVGCanvas.accent, dash: true)
        canvas.text("mean", Self.left + Self.inner + 6, y + 4, size: 10, colour: SVGCanvas.accent)
        var axis = perBar == 1 ? "rank" : "rank (a bar: the busiest of \(perBar))"
        let rate = Balancedness.rate(ofLayer: loads, ranks: loads.count)
        axis += "; balancedness of the sums \(Self.short(Double(rate)))"
        let middle = Self.left + Self.inner / 2
        canvas.text(axis, middle, bottom + 28, anchor: .middle, size: 10, colour: SVGCanvas.faint)
        return bottom + 32
    }

    /// Draws load over time and returns where the panel ends.
    func drawTime(_ recording: Recording, on canvas: inout SVGCanvas, top: Double) -> Double {
        let area = Self.heading("Load over time", on: &canvas, top: top)
        let stretches = recording.stretches(limit: Self.mostPoints)
        guard !stretches.isEmpty else {
            canvas.text("No passes.", Self.left, area + 14, colour: SVGCanvas.faint)
            return area + 20
        }
        let height = Self.chartHeight
        let bottom = area + height
        let scale = Scale(largest: stretches.map(\.pairs).max() ?? 0)
        Self.grid(scale, on: &canvas, top: area, height: height, label: "pairs per pass")
        let step = Self.inner / Double(stretches.count)
        var bars = ""
        var line = ""
        for (index, stretch) in stretches.enumerated() {
            let (x, end) = (Self.left + Double(index) * step, Self.left + Double(index + 1) * step)
            let y = bottom - stretch.pairs / scale.top * height
            bars += "M\(SVGCanvas.number(x)) \(SVGCanvas.number(bottom))V\(SVGCanvas.number(y))"
            bars += "H\(SVGCanvas.number(end))V\(SVGCanvas.number(bottom))Z"
            if let share = stretch.topShare {
                line += "\(line.isEmpty ? "M" : "L")\(SVGCanvas.number((x + end) / 2)) "
                line += SVGCanvas.number(bottom - share * height)
            }
        }
        canvas.path(bars, fill: "#9ecae1")
        canvas.path(line, stroke: SVGCanvas.accent)
        let right = Self.left + Self.inner + 6
        for percent in [0, 50, 100] {
            let y = bottom - Double(percent) / 100 * height
            canvas.text("\(percent) %", right, y + 4, size: 10, colour: SVGCanvas.accent)
        }
        for mark in 0...4 {
            let index = mark * (stretches.count - 1) / 4
            guard mark == 0 || index != (mark - 1) * (stretches.count - 1) / 4 else { continue }
            let row = stretches[index].rows.lowerBound
            let name = recording.passes.indices.contains(row) ? recording.passes[row].id : row
            let x = Self.left + (Double(index) + 0.5) * step
            canvas.text("\(name)", x, bottom + 14, anchor: .middle, size: 10, colour: SVGCanvas.faint)
        }
        let length = stretches[0].rows.count
        let axis =
            (recording.passes.isEmpty ? "used row, in the file's order" : "pass")
            + (length > 1 ? " (a bar: the mean of \(length))" : "")
            + "; blue: pairs per pass, red: share of a layer's hottest expert, mean over layers"
        let middle = Self.left + Self.inner / 2
        canvas.text(axis, middle, bottom + 28, anchor: .middle, size: 10, colour: SVGCanvas.faint)
        return bottom + 32
    }
}
