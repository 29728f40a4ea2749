// SVGCanvas: the few SVG elements that plots need, as text. Coordinates are rounded to a tenth, texts are escaped.

/// A growing SVG document.
struct SVGCanvas {
    /// Where a text is held.
    enum Anchor: String { case start, middle, end }

    static let ink = "#222"
    static let faint = "#888"
    static let grid = "#ddd"
    static let accent = "#c0392b"

    let width: Double
    private(set) var height = 0.0
    private var body = ""

    init(width: Double) { self.width = width }

    /// Makes the document reach down to `bottom`.
    mutating func extend(to bottom: Double) { height = max(height, bottom) }

    mutating func text(
        _ text: String, _ x: Double, _ y: Double, anchor: Anchor = .start, size: Int = 11, bold: Bool = false,
        colour: String = ink, turned: Bool = false
    ) {
        let place = turned ? " transform=\"rotate(-90 \(Self.number(x)) \(Self.number(y)))\"" : ""
        body += "<text x=\"\(Self.number(x))\" y=\"\(Self.number(y))\" font-size=\"\(size)\" fill=\"\(colour)\""
        body += " text-anchor=\"\(anchor.rawValue)\"\(bold ? " font-weight=\"600\"" : "")\(place)>"
        body += Self.escaped(text) + "</text>\n"
    }

    mutating func rectangle(
        _ x: Double, _ y: Double, _ width: Double, _ height: Double, fill: String, hint: String = ""
    ) {
        body += "<rect x=\"\(Self.number(x))\" y=\"\(Self.number(y))\" width=\"\(Self.number(max(0, width)))\""
        body += " height=\"\(Self.number(max(0, height)))\" fill=\"\(fill)\""
        body += hint.isEmpty ? "/>\n" : "><title>\(Self.escaped(hint))</title></rect>\n"
    }

    mutating func line(
        _ x: Double, _ y: Double, _ toX: Double, _ toY: Double, colour: String = grid, dash: Bool = false
    ) {
        body += "<line x1=\"\(Self.number(x))\" y1=\"\(Self.number(y))\" x2=\"\(Self.number(toX))\""
        body += " y2=\"\(Self.number(toY))\" stroke=\"\(colour)\"\(dash ? " stroke-dasharray=\"4 3\"" : "")/>\n"
    }

    /// A shape of path commands.
    mutating func path(_ commands: String, fill: String = "none", stroke: String = "none") {
        guard !commands.isEmpty else { return }
        body += "<path d=\"\(commands)\" fill=\"\(fill)\" stroke=\"\(stroke)\" stroke-width=\"1.5\"/>\n"
    }

    /// The whole document.
    func document(title: String) -> String {
        let size = "width=\"\(Self.number(width))\" height=\"\(Self.number(height))\""
        return """
            <svg xmlns="http://www.w3.org/2000/svg" \(size) viewBox="0 0 \(Self.number(width)) \(Self.number(height))" \
            font-family="system-ui, Helvetica, Arial, sans-serif" role="img">
            <title>\(Self.escaped(title))</title>
            <rect width="100%" height="100%" fill="#fff"/>
            \(body)</svg>

            """
    }

    /// `text` with what XML reserves or forbids replaced.
    static func escaped(_ text: String) -> String {
        var escaped = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": escaped += "&amp;"
            case "<": escaped += "&lt;"
            case ">": escaped += "&gt;"
            case "\"": escaped += "&quot;"
            case "\u{0}"..."\u{1F}", "\u{7F}", "\u{FFFE}", "\u{FFFF}": escaped += "\u{FFFD}"
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }

    /// A coordinate, to a tenth.
    static func number(_ value: Double) -> String {
        guard value.isFinite, abs(value) < 1e9 else { return "0" }
        let tenths = Int((value * 10).rounded())
        let sign = tenths < 0 ? "-" : ""
        return abs(tenths) % 10 == 0
            ? "\(sign)\(abs(tenths) / 10)" : "\(sign)\(abs(tenths) / 10).\(abs(tenths) % 10)"
    }
}
