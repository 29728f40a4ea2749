// TemplateFilters: what may stand behind `|`, and the filters of single values; `+Sequences` has those of lists.
//
// A filter is added by a case here (its name in templates), its parameters if it has any, and one line in the switch.
// Where Jinja gives a generator, these give the list it would yield.

enum TemplateFilter: String, Sendable {
    case abs, attr, batch, capitalize, count, d, `default`, dictsort, e, escape, first, float, forceescape, format
    case groupby, indent, int, items, join, last, length, list, lower, map, max, min, reject, rejectattr, replace
    case reverse, round, safe, select, selectattr, sort, string, sum, title, tojson, trim, unique, upper, wordcount

    /// The parameters in order; nil for filters that take the arguments as they come.
    var parameters: [String]? {
        switch self {
        case .attr: ["name"]
        case .batch: ["linecount", "fill_with"]
        case .d, .default: ["default_value", "boolean"]
        case .dictsort: ["case_sensitive", "by", "reverse"]
        case .float: ["default"]
        case .groupby: ["attribute", "default"]
        case .indent: ["width", "first", "blank"]
        case .int: ["default", "base"]
        case .join: ["d", "attribute"]
        case .max, .min: ["case_sensitive", "attribute"]
        case .replace: ["old", "new", "count"]
        case .round: ["precision", "method"]
        case .sort: ["reverse", "case_sensitive", "attribute"]
        case .sum: ["attribute", "start"]
        case .tojson: ["ensure_ascii", "indent", "separators", "sort_keys"]
        case .trim: ["chars"]
        case .unique: ["case_sensitive", "attribute"]
        case .format, .map, .reject, .rejectattr, .select, .selectattr: nil
        default: []
        }
    }
}

extension TemplateEvaluator {
    func filter(
        _ filter: TemplateFilter, _ value: TemplateDatum, _ arguments: TemplateArguments
    ) throws(ChatTemplateError) -> TemplateDatum {
        guard let parameters = filter.parameters else { return try variadic(filter, value, arguments) }
        let bound = try bind(arguments, to: parameters, of: filter.rawValue)
        switch filter {
        case .default, .d:
            let isMissing = value.isUndefined || ((bound[1]?.isTrue ?? false) && !value.isTrue)
            return isMissing ? bound[0] ?? .string("") : value
        case .tojson: return try json(value, bound)
        case .length, .count: return .int(try length(of: value))
        case .string: return .string(try text(of: value))
        case .int: return try whole(value, bound)
        case .float: return float(value, bound[0])
        case .abs:
            if case .double(let number) = value { return .double(number.magnitude) }
            guard let number = value.wholeNumber else { throw failure("'abs' needs a number, not '\(value.typeName)'") }
            return number < 0 ? try negated(value) : .int(number)
        case .round: return try rounded(value, bound)
        case .items:
            if value.isUndefined { return try list([]) }
            guard case .dict(let dictionary) = value else {
                throw failure("'items' needs a dictionary, not '\(value.typeName)'")
            }
            return try pairs(of: dictionary)
        case .attr:
            guard case .string(let name)? = bound[0] else { throw failure("'attr' needs a name") }
            let method = TemplateMethod(rawValue: name)
            // Unlike `.name`, this does not look at the keys of a dictionary.
            if case .dict = value, !(method?.belongs(to: value) ?? false) {
                return .undefined(TemplateUndefined(name, of: value.typeName))
            }
            return try attribute(name, method, of: value)
        case .trim, .safe, .e, .escape, .forceescape, .upper, .lower, .capitalize, .title, .replace, .indent,
            .wordcount:
            let text = try text(of: value)
            try spend(text.utf8.count)
            return try textFilter(filter, text, bound)
        default: return try sequenceFilter(filter, value, bound)
        }
    }

    private func textFilter(
        _ filter: TemplateFilter, _ text: String, _ bound: [TemplateDatum?]
    ) throws(ChatTemplateError) -> TemplateDatum {
        switch filter {
        case .trim: return .string(TemplateText.stripped(text, try optionalText(bound[0], "trim")))
        case .upper: return try string(text.uppercased())
        case .lower: return try string(text.lowercased())
        case .capitalize: return try string(TemplateText.capitalized(text))
        case .title: return try string(Self.titled(text))
        case .e, .escape, .forceescape: return try string(Self.escaped(text))
        case .wordcount: return .int(Self.wordCount(text))
        case .indent: return try indented(text, bound)
        case .replace:
            guard let old = bound[0], let new = bound[1] else { throw failure("'replace' needs two strings") }
            let count = bound[2]?.wholeNumber ?? -1
            return .string(try replaced(text, try self.text(of: old), try self.text(of: new), count))
        default: return .string(text)
        }
    }

    func optionalText(_ value: TemplateDatum?, _ callee: String) throws(ChatTemplateError) -> String? {
        switch value {
        case nil, .some(.null): return nil
        case .some(.string(let text)): return text
        case .some(let value): throw failure("'\(callee)' needs a string, not '\(value.typeName)'")
        }
    }

    func length(of value: TemplateDatum) throws(ChatTemplateError) -> Int {
        switch value {
        case .undefined: return 0
        case .string(let text):
            try spend(text.utf8.count)
            return text.unicodeScalars.count
        case .list(let list), .tuple(let list): return list.items.count
        case .dict(let dictionary): return dictionary.keys.count
        default: throw failure("'\(value.typeName)' has no length")
        }
    }

    func pairs(of dictionary: TemplateDictionary) throws(ChatTemplateError) -> TemplateDatum {
        var pairs: [TemplateDatum] = []
        for (key, value) in zip(dictionary.keys, dictionary.values) { pairs.append(.tuple(try newList([key, value]))) }
        return try list(pairs)
    }

    // MARK: Numbers

    private func whole(_ value: TemplateDatum, _ bound: [TemplateDatum?]) throws(ChatTemplateError) -> TemplateDatum {
        if case .undefined(let undefined) = value { throw failure(undefined.message) }
        if let number = value.wholeNumber { return .int(number) }
        var number: Int?
        switch value {
        case .double(let value): number = value.isFinite ? Int(exactly: value.rounded(.towardZero)) : nil
        case .string(let text):
            let base = bound[1]?.wholeNumber ?? 10
            guard (2...36).contains(base) else { throw failure("'int' needs a base from 2 to 36") }
            number = TemplateNumber.integer(text, base: base)
            if number == nil, let value = TemplateNumber.double(text), value.isFinite {
                number = Int(exactly: value.rounded(.towardZero))
            }
        default: break
        }
        return number.map(TemplateDatum.int) ?? bound[0] ?? .int(0)
    }

    private func float(_ value: TemplateDatum, _ fallback: TemplateDatum?) -> TemplateDatum {
        if case .double = value { return value }
        if let number = value.wholeNumber { return .double(Double(number)) }
        if case .string(let text) = value, let number = TemplateNumber.double(text) { return .double(number) }
        return fallback ?? .double(0)
    }

    private func rounded(_ value: TemplateDatum, _ bound: [TemplateDatum?]) throws(ChatTemplateError) -> TemplateDatum {
        let digits = bound[0]?.wholeNumber ?? 0
        let method = try optionalText(bound[1], "round") ?? "common"
        guard (-22...22).contains(digits), ["common", "ceil", "floor"].contains(method) else {
            throw failure("'round' needs a precision from -22 to 22 and 'common', 'ceil' or 'floor'")
        }
        if method == "common", digits >= 0, let number = value.wholeNumber { return .int(number) }
        guard case .double(let number) = try arithmetic(value, .times, .double(1)) else { return value }
        guard method != "common" else { return .double(TemplateNumber.rounded(number, digits: digits)) }
        let unit = TemplateNumber.power(10, Double(digits))
        return .double((number * unit).rounded(method == "ceil" ? .up : .down) / unit)
    }

    // MARK: Text

    /// Words begin after white space, `-` and opening brackets: Jinja's `title`, not Python's.
    private static func titled(_ text: String) -> String {
        var result = ""
        var startsWord = true
        for scalar in text.unicodeScalars {
            result += startsWord ? scalar.properties.uppercaseMapping : scalar.properties.lowercaseMapping
            startsWord = TemplateText.isSpace(scalar) || ["-", "(", "{", "[", "<"].contains(scalar)
        }
        return result
    }

    private static func escaped(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "\"": result += "&#34;"
            case "'": result += "&#39;"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    private static func wordCount(_ text: String) -> Int {
        var count = 0
        var isInWord = false
        for scalar in text.unicodeScalars {
            let isPart = scalar == "_" || scalar.properties.isAlphabetic || scalar.properties.numericType != nil
            if isPart, !isInWord { count += 1 }
            isInWord = isPart
        }
        return count
    }

    private func indented(_ text: String, _ bound: [TemplateDatum?]) throws(ChatTemplateError) -> TemplateDatum {
        let indent: String
        if case .string(let text)? = bound[0] {
            indent = text
        } else {
            let width = bound[0]?.wholeNumber ?? 4
            guard width <= 1000 else { throw failure("'indent' by more than 1000") }
            indent = String(repeating: " ", count: max(0, width))
        }
        let indentsBlank = bound[2]?.isTrue ?? false
        // A last line without its end counts, and so does the empty one after a line's end.
        let lines = TemplateText.lines(text + "\n")
        let (bytes, overflows) = indent.utf8.count.multipliedReportingOverflow(by: lines.count)
        try checkLength(overflows ? .max : bytes + text.utf8.count)
        var result = bound[1]?.isTrue ?? false ? indent : ""
        for (place, line) in lines.enumerated() {
            if place > 0 { result += line.isEmpty && !indentsBlank ? "\n" : "\n" + indent }
            result += line
        }
        return .string(result)
    }

    /// `text` with `old` replaced by `new`, at most `count` times unless negative; an empty `old` is between all.
    func replaced(
        _ text: String, _ old: String, _ new: String, _ count: Int
    ) throws(ChatTemplateError) -> String {
        let limit = count < 0 ? Int.max : count
        try spend(text.utf8.count + old.utf8.count)
        guard limit > 0 else { return text }
        if old.isEmpty {
            let places = min(limit, text.unicodeScalars.count + 1)
            let (bytes, overflows) = new.utf8.count.multipliedReportingOverflow(by: places)
            try checkLength(overflows ? .max : bytes + text.utf8.count)
            var result = new
            for (place, scalar) in text.unicodeScalars.enumerated() {
                result.unicodeScalars.append(scalar)
                if place + 1 < places { result += new }
            }
            return result
        }
        let pieces = TemplateText.split(text, at: old, limit: limit)
        let (bytes, overflows) = new.utf8.count.multipliedReportingOverflow(by: pieces.count)
        try checkLength(overflows ? .max : bytes + text.utf8.count)
        return pieces.joined(separator: new)
    }
}
