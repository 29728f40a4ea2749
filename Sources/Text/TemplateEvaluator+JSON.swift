// TemplateEvaluator+JSON: `tojson` as the model world has it: `json.dumps(value, ensure_ascii=False)`, not Jinja's own,
// which would escape for HTML and sort keys.

extension TemplateEvaluator {
    /// The `tojson` filter with its arguments `ensure_ascii`, `indent`, `separators`, `sort_keys`.
    func json(_ value: TemplateDatum, _ arguments: [TemplateDatum?]) throws(ChatTemplateError) -> TemplateDatum {
        var style = TemplateJSONStyle()
        style.isASCII = arguments[0]?.isTrue ?? false
        switch arguments[1] {
        case nil, .some(.null): break
        case .some(.string(let unit)): style.indent = unit
        case .some(let width):
            guard let width = width.wholeNumber, width <= 64 else { throw failure("'tojson' needs a small 'indent'") }
            style.indent = String(repeating: " ", count: max(0, width))
        }
        if style.indent != nil { style.comma = "," }
        if case .some(.tuple(let list)) = arguments[2] {
            guard list.items.count == 2, case .string(let comma) = list.items[0],
                case .string(let colon) = list.items[1]
            else { throw failure("'tojson' needs two strings as 'separators'") }
            (style.comma, style.colon) = (comma, colon)
        }
        style.sortsKeys = arguments[3]?.isTrue ?? false
        var result = ""
        try write(value, style, level: 0, into: &result)
        return .string(result)
    }

    private func write(
        _ value: TemplateDatum, _ style: TemplateJSONStyle, level: Int, into result: inout String
    ) throws(ChatTemplateError) {
        try enter()
        defer { leave() }
        try spend(TemplateBudget.node)
        switch value {
        case .null: result += "null"
        case .bool(let value): result += value ? "true" : "false"
        case .int(let value): result += String(value)
        case .double(let value): result += Self.json(value)
        case .string(let text):
            try spend(text.utf8.count)
            style.write(text, into: &result)
        case .list(let list), .tuple(let list):
            try write(list.items.count, "[", "]", style, level, into: &result) {
                (place, result) throws(ChatTemplateError) in
                try write(list.items[place], style, level: level + 1, into: &result)
            }
        case .dict(let dictionary):
            var order = Array(dictionary.keys.indices)
            if style.sortsKeys { order = try sortedPlaces(dictionary.keys) }
            try write(order.count, "{", "}", style, level, into: &result) {
                (place, result) throws(ChatTemplateError) in
                style.write(try key(dictionary.keys[order[place]]), into: &result)
                result += style.colon
                try write(dictionary.values[order[place]], style, level: level + 1, into: &result)
            }
        default: throw failure("'\(value.typeName)' cannot be written as JSON")
        }
        guard result.utf8.count <= TemplateBudget.maximumText else { _ = try string(result); return }
    }

    private func write(
        _ count: Int, _ open: String, _ close: String, _ style: TemplateJSONStyle, _ level: Int,
        into result: inout String, _ member: (Int, inout String) throws(ChatTemplateError) -> Void
    ) throws(ChatTemplateError) {
        result += open
        for place in 0..<count {
            if place > 0 { try append(style.comma, to: &result) }
            try breakLine(style, level + 1, into: &result)
            try member(place, &result)
        }
        if count > 0 { try breakLine(style, level, into: &result) }
        result += close
    }

    private func breakLine(
        _ style: TemplateJSONStyle, _ level: Int, into result: inout String
    ) throws(ChatTemplateError) {
        guard let indent = style.indent else { return }
        result += "\n"
        for _ in 0..<level { try append(indent, to: &result) }
    }

    private func key(_ key: TemplateDatum) throws(ChatTemplateError) -> String {
        switch key {
        case .string(let text): text
        case .null: "null"
        case .bool(let value): value ? "true" : "false"
        case .double(let value): Self.json(value)
        default: try text(of: key)
        }
    }

    private static func json(_ value: Double) -> String {
        guard value.isFinite else { return value.isNaN ? "NaN" : value < 0 ? "-Infinity" : "Infinity" }
        return TemplateNumber.text(value)
    }
}

struct TemplateJSONStyle {
    var isASCII = false
    /// One level; nil for all on one line.
    var indent: String?
    var comma = ", "
    var colon = ": "
    var sortsKeys = false

    /// Appends `text` in quotes.
    func write(_ text: String, into result: inout String) {
        result += "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            case "\u{8}": result += "\\b"
            case "\u{C}": result += "\\f"
            default:
                if scalar.value >= 0x20, !isASCII || scalar.value < 0x7F {
                    result.unicodeScalars.append(scalar)
                } else {
                    for unit in String(scalar).utf16 {
                        let digits = String(unit, radix: 16)
                        result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                    }
                }
            }
        }
        result += "\""
    }
}
