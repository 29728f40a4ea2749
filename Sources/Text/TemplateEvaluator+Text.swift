// TemplateEvaluator+Text: `str(value)`, `repr(value)` and `format % values` as Python has them.

extension TemplateEvaluator {
    /// `str(value)`: what `{{ value }}` writes.
    func text(of value: TemplateDatum) throws(ChatTemplateError) -> String {
        switch value {
        case .string(let text): text
        case .undefined: ""
        default: try representation(of: value)
        }
    }

    /// `repr(value)`.
    func representation(of value: TemplateDatum) throws(ChatTemplateError) -> String {
        var result = ""
        try represent(value, into: &result)
        return result
    }

    private func represent(_ value: TemplateDatum, into result: inout String) throws(ChatTemplateError) {
        try enter()
        defer { leave() }
        try spend(TemplateBudget.node)
        switch value {
        case .undefined: result += "Undefined"
        case .null: result += "None"
        case .bool(let value): result += value ? "True" : "False"
        case .int(let value): result += String(value)
        case .double(let value): result += TemplateNumber.text(value)
        case .string(let text):
            // Paid before it is made: quoting costs more than appending.
            try spend(text.utf8.count)
            try append(Self.quoted(text), to: &result)
        case .list(let list): try represent(list.items, "[", "]", into: &result)
        case .tuple(let list): try represent(list.items, "(", list.items.count == 1 ? ",)" : ")", into: &result)
        case .dict(let dictionary):
            result += "{"
            for (place, key) in dictionary.keys.enumerated() {
                try append(place > 0 ? ", " : "", to: &result)
                try represent(key, into: &result)
                result += ": "
                try represent(dictionary.values[place], into: &result)
            }
            result += "}"
        case .namespace(let namespace):
            result += "<Namespace {"
            for (place, attribute) in namespace.attributes.enumerated() {
                result += (place > 0 ? ", " : "") + Self.quoted(attribute.name) + ": "
                try represent(attribute.value, into: &result)
            }
            result += "}>"
        case .loop(let loop): result += "<LoopContext \(loop.index + 1)/\(loop.length)>"
        case .macro(let macro): result += "<Macro \(Self.quoted(macro.syntax.name))>"
        case .function(let function): result += "<function \(function.rawValue)>"
        case .method(let method): result += "<built-in method \(method.method.rawValue)>"
        }
    }

    private func represent(
        _ items: [TemplateDatum], _ open: String, _ close: String, into result: inout String
    ) throws(ChatTemplateError) {
        result += open
        for (place, item) in items.enumerated() {
            try append(place > 0 ? ", " : "", to: &result)
            try represent(item, into: &result)
        }
        result += close
    }

    /// A string literal of Python: single quotes unless only single quotes occur inside.
    private static func quoted(_ text: String) -> String {
        let quote: Unicode.Scalar = text.utf8.contains(0x27) && !text.utf8.contains(0x22) ? "\"" : "'"
        var result = String(quote)
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\", quote: result += "\\" + String(scalar)
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            default: if isPrintable(scalar) { result.unicodeScalars.append(scalar) } else { result += escape(scalar) }
            }
        }
        return result + String(quote)
    }

    private static func isPrintable(_ scalar: Unicode.Scalar) -> Bool {
        if scalar.isASCII { return scalar.value >= 0x20 && scalar.value < 0x7F }
        switch scalar.properties.generalCategory {
        case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator,
            .spaceSeparator:
            return false
        default: return true
        }
    }

    private static func escape(_ scalar: Unicode.Scalar) -> String {
        let digits = String(scalar.value, radix: 16)
        let (letter, width) = scalar.value < 0x100 ? ("x", 2) : scalar.value < 0x10000 ? ("u", 4) : ("U", 8)
        return "\\" + letter + String(repeating: "0", count: width - digits.count) + digits
    }

    // MARK: Formats

    /// `format % values`, for `%s`, `%r`, `%d`, `%i`, `%f`, `%.2f` and `%%`.
    func formatted(_ format: String, _ values: TemplateDatum) throws(ChatTemplateError) -> String {
        var rest: [TemplateDatum] = [values]
        if case .tuple(let list) = values { rest = list.items }
        rest.reverse()
        var result = ""
        var scalars = format.unicodeScalars[...]
        while let scalar = scalars.popFirst() {
            guard scalar == "%" else {
                result.unicodeScalars.append(scalar)
                continue
            }
            var digits = 6
            if scalars.first == "." {
                let number = scalars.dropFirst().prefix { $0.value < 0x80 && TemplateText.isDigit(UInt8($0.value)) }
                digits = Int(String(number)) ?? 0
                scalars = scalars.dropFirst(1 + number.count)
            }
            let kind = scalars.popFirst()
            if kind == "%" {
                result += "%"
                continue
            }
            guard let value = rest.popLast() else { throw failure("not enough values for the format '\(format)'") }
            try append(try formatted(kind, digits, value), to: &result)
        }
        guard rest.isEmpty else { throw failure("too many values for the format '\(format)'") }
        return result
    }

    private func formatted(
        _ kind: Unicode.Scalar?, _ digits: Int, _ value: TemplateDatum
    ) throws(ChatTemplateError) -> String {
        switch (kind, value) {
        case ("s", _): return try text(of: value)
        case ("r", _): return try representation(of: value)
        case ("d", .double(let number)), ("i", .double(let number)):
            if let whole = Int(exactly: number.rounded(.towardZero)) { return String(whole) }
        case ("d", _), ("i", _): if let number = value.wholeNumber { return String(number) }
        case ("f", .double(let number)): return TemplateNumber.fixed(number, digits: digits)
        case ("f", _): if let number = value.wholeNumber { return TemplateNumber.fixed(Double(number), digits: digits) }
        default: break
        }
        throw failure("the format '%\(kind.map(String.init) ?? "")' is not supported for '\(value.typeName)'")
    }
}
