// The heat map of a plot: layers by experts, each cell the load in multiples of its layer's even share.

extension SVGPlot {
    private static let mostColumns = 128
    private static let mostRows = 96
    /// From no load to the most: pale to dark, so that it also prints in grey.
    private static let stops: [(Double, Double, Double)] = [
        (255, 253, 245), (254, 227, 155), (253, 184, 99), (241, 105, 19), (179, 30, 30), (74, 0, 31),
    ]
    private static let shades = 24

    /// Draws the map and returns where it ends.
    func drawHeatMap(_ recording: Recording, on canvas: inout SVGCanvas, top: Double) -> Double {
        let experts = recording.logicalExperts
        let perColumn = (experts + Self.mostColumns - 1) / Self.mostColumns
        let perRow = (recording.layers + Self.mostRows - 1) / Self.mostRows
        let columns = (experts + perColumn - 1) / perColumn
        let rows = (recording.layers + perRow - 1) / perRow

        // [rows, columns]: the largest multiple of the even share in each cell.
        var cells = [Double](repeating: 0, count: rows * columns)
        for layer in 0..<recording.layers {
            let row = recording.totals[layer * experts..<(layer + 1) * experts]
            let even = Double(row.reduce(0, +)) / Double(experts)
            guard even > 0 else { continue }
            for (expert, count) in row.enumerated() {
                let cell = layer / perRow * columns + expert / perColumn
                cells[cell] = max(cells[cell], Double(count) / even)
            }
        }
        let most = max(2, cells.max() ?? 0)

        let area = Self.heading("Load per layer and expert", on: &canvas, top: top)
        let (width, height) = (Self.inner / Double(columns), min(16, max(4, 480 / Double(rows))))
        var shapes = [String](repeating: "", count: Self.shades)
        for (index, value) in cells.enumerated() {
            let shade = min(Self.shades - 1, Int(value / most * Double(Self.shades - 1) + 0.5))
            let (x, y) = (Self.left + Double(index % columns) * width, area + Double(index / columns) * height)
            let end = Self.left + Double(index % columns + 1) * width
            shapes[shade] += "M\(SVGCanvas.number(x)) \(SVGCanvas.number(y))H\(SVGCanvas.number(end))"
            shapes[shade] += "V\(SVGCanvas.number(y + height))H\(SVGCanvas.number(x))Z"
        }
        for (shade, shape) in shapes.enumerated() {
            canvas.path(shape, fill: Self.colour(Double(shade) / Double(Self.shades - 1)))
        }
        let bottom = area + Double(rows) * height
        drawFrame(on: &canvas, area: area, bottom: bottom)
        for row in stride(from: 0, to: rows, by: max(1, (rows + 11) / 12)) {
            let y = area + (Double(row) + 0.5) * height + 4
            canvas.text("\(row * perRow)", Self.left - 6, y, anchor: .end, size: 10, colour: SVGCanvas.faint)
        }
        for column in stride(from: 0, to: columns, by: max(1, (columns + 15) / 16)) {
            let x = Self.left + (Double(column) + 0.5) * width
            let name = "\(column * perColumn)"
            canvas.text(name, x, bottom + 14, anchor: .middle, size: 10, colour: SVGCanvas.faint)
        }
        canvas.text("layer", 16, (area + bottom) / 2, anchor: .middle, size: 10, colour: SVGCanvas.faint, turned: true)
        var axis = "expert"
        if perColumn > 1 || perRow > 1 {
            axis +=
                " (a cell: \(perColumn) experts of \(perRow == 1 ? "one layer" : "\(perRow) layers"), the busiest shown)"
        }
        let middle = Self.left + Self.inner / 2
        canvas.text(axis, middle, bottom + 28, anchor: .middle, size: 10, colour: SVGCanvas.faint)
        drawLegend(most, on: &canvas, area: area)
        return max(bottom + 32, area + 136)
    }

    private func drawFrame(on canvas: inout SVGCanvas, area: Double, bottom: Double) {
        let (right, left) = (Self.left + Self.inner, Self.left)
        canvas.line(left, area, right, area)
        canvas.line(left, bottom, right, bottom)
        canvas.line(left, area, left, bottom)
        canvas.line(right, area, right, bottom)
    }

    /// The colour scale, at the right.
    private func drawLegend(_ most: Double, on canvas: inout SVGCanvas, area: Double) {
        let (x, height) = (Self.left + Self.inner + 16, 4.0)
        for shade in 0..<Self.shades {
            let y = area + Double(Self.shades - 1 - shade) * height
            canvas.rectangle(x, y, 12, height, fill: Self.colour(Double(shade) / Double(Self.shades - 1)))
        }
        let bottom = area + Double(Self.shades) * height
        canvas.text("\(Self.short(most))×", x + 17, area + 8, size: 10)
        canvas.text("1×", x + 17, bottom - (bottom - area) / most + 3, size: 10)
        canvas.text("0", x + 17, bottom + 3, size: 10)
        canvas.text("1× = even", x, bottom + 18, size: 10, colour: SVGCanvas.faint)
    }

    /// The colour of a value from 0 to 1.
    private static func colour(_ value: Double) -> String {
        let place = min(max(value, 0), 1) * Double(stops.count - 1)
        let first = min(Int(place), stops.count - 2)
        let part = place - Double(first)
        func mix(_ from: Double, _ to: Double) -> Int { Int((from + (to - from) * part).rounded()) }
        let (from, to) = (stops[first], stops[first + 1])
        return "rgb(\(mix(from.0, to.0)),\(mix(from.1, to.1)),\(mix(from.2, to.2)))"
    }
}
