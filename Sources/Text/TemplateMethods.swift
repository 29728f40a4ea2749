// TemplateMethods: the methods of Python's strings, lists and dictionaries, and of `loop`.
//
// A method is added by a case here, its owner, its parameters if it has any, and one line in a switch.

enum TemplateMethod: String, Sendable {
    case append, capitalize, changed, count, cycle, endswith, find, format, get, index, isalnum, isalpha, isdigit
    case islower, isspace, isupper, items, join, keys, lower, lstrip, removeprefix, removesuffix, replace, rfind
    case rsplit, rstrip, split, splitlines, startswith, strip, title, upper, values

    /// Whether `value` has this method.
    func belongs(to value: TemplateDatum) -> Bool {
        switch self {
        case .get, .items, .keys, .values: if case .dict = value { true } else { false }
        case .append: if case .list = value { true } else { false }
        case .changed, .cycle: if case .loop = value { true } else { false }
        case .count, .index:
            switch value {
            case .list, .tuple, .string: true
            default: false
            }
        default: if case .string = value { true } else { false }
        }
    }

    fileprivate var parameters: [String] {
        switch self {
        case .append, .count, .find, .index, .join, .removeprefix, .removesuffix, .rfind: ["value"]
        case .startswith, .endswith: ["prefix"]
        case .get: ["key", "default"]
        case .lstrip, .rstrip, .strip: ["chars"]
        case .replace: ["old", "new", "count"]
        case .split, .rsplit: ["sep", "maxsplit"]
        default: []
        }
    }

    fileprivate var required: Int {
        switch self {
        case .lstrip, .rstrip, .strip, .split, .rsplit: 0
        case .replace: 2
        default: min(1, parameters.count)
        }
    }
}

extension TemplateEvaluator {
    func call(
        _ method: TemplateMethod, _ name: String, of value: TemplateDatum, _ arguments: TemplateArguments
    ) throws(ChatTemplateError) -> TemplateDatum {
        switch (method, value) {
        case (.format, .string(let text)): return try string(try formatted(text, arguments))
        case (.cycle, .loop(let loop)):
            guard !arguments.positional.isEmpty else { throw failure("'cycle' needs values") }
            return arguments.positional[loop.index % arguments.positional.count]
        case (.changed, .loop(let loop)):
            let values = TemplateDatum.tuple(try newList(arguments.positional))
            let isSame = if let watched = loop.watched { try isEqual(watched, values) } else { false }
            loop.watched = values
            return .bool(!isSame)
        default: break
        }
        let bound = try bind(arguments, to: method.parameters, of: name, required: method.required)
        switch value {
        case .string(let text):
            try spend(text.utf8.count)
            return try call(method, of: text, bound)
        case .dict(let dictionary):
            switch method {
            case .items: return try pairs(of: dictionary)
            case .keys: return try list(dictionary.keys)
            case .values: return try list(dictionary.values)
            default: return dictionary[bound[0] ?? .null] ?? bound[1] ?? .null
            }
        case .list(let items), .tuple(let items):
            switch method {
            case .append:
                try append(bound[0] ?? .null, to: items)
                return .null
            default: return try count(method, bound[0] ?? .null, in: items)
            }
        default: throw failure("'\(value.typeName)' has no method '\(name)'")
        }
    }

    private func count(
        _ method: TemplateMethod, _ value: TemplateDatum, in list: TemplateList
    ) throws(ChatTemplateError) -> TemplateDatum {
        var count = 0
        for (place, item) in list.items.enumerated() {
            try spend(TemplateBudget.node)
            guard try isEqual(item, value) else { continue }
            if method == .index { return .int(place) }
            count += 1
        }
        guard method == .count else { throw failure("the value is not in the list") }
        return .int(count)
    }

    // MARK: Strings

    private func call(
        _ method: TemplateMethod, of text: String, _ bound: [TemplateDatum?]
    ) throws(ChatTemplateError) -> TemplateDatum {
        switch method {
        case .upper: return try string(text.uppercased())
        case .lower: return try string(text.lowercased())
        case .title: return try string(TemplateText.titled(text))
        case .capitalize: return try string(TemplateText.capitalized(text))
        case .strip, .lstrip, .rstrip:
            let characters = try optionalText(bound[0], method.rawValue)
            return .string(
                TemplateText.stripped(text, characters, left: method != .rstrip, right: method != .lstrip))
        case .split, .rsplit: return try split(text, bound, fromRight: method == .rsplit)
        case .splitlines: return try list(TemplateText.lines(text).map(TemplateDatum.string))
        case .startswith, .endswith: return .bool(try hasEnd(text, bound[0] ?? .null, atStart: method == .startswith))
        case .islower, .isupper: return .bool(TemplateText.isCased(text, upper: method == .isupper))
        case .isalnum, .isalpha, .isdigit, .isspace:
            return .bool(!text.isEmpty && text.unicodeScalars.allSatisfy { Self.isKind(method, $0) })
        case .join: return try filter(.join, bound[0] ?? .null, TemplateArguments(positional: [.string(text)]))
        default: break
        }
        guard let part = try optionalText(bound[0], method.rawValue) else {
            throw failure("'\(method.rawValue)' needs a string")
        }
        try spend(part.utf8.count)
        switch method {
        case .replace:
            guard let new = try optionalText(bound[1], "replace") else { throw failure("'replace' needs a string") }
            return .string(try replaced(text, part, new, bound[2]?.wholeNumber ?? -1))
        case .removeprefix: return .string(Self.hasPrefix(text, part) ? Self.slice(text, part.utf8.count, nil) : text)
        case .removesuffix:
            return .string(Self.hasSuffix(text, part) ? Self.slice(text, 0, text.utf8.count - part.utf8.count) : text)
        case .count:
            guard !part.isEmpty else { return .int(text.unicodeScalars.count + 1) }
            return .int(TemplateText.occurrences(of: Array(part.utf8), in: Array(text.utf8)).count)
        default: return try find(method, part, in: text)
        }
    }

    private static func isKind(_ method: TemplateMethod, _ scalar: Unicode.Scalar) -> Bool {
        let isLetter: Bool
        switch scalar.properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: isLetter = true
        default: isLetter = false
        }
        switch method {
        case .isspace: return TemplateText.isSpace(scalar)
        case .isalpha: return isLetter
        case .isdigit: return scalar.properties.numericType == .decimal || scalar.properties.numericType == .digit
        default: return isLetter || scalar.properties.numericType != nil
        }
    }

    private static func hasPrefix(_ text: String, _ part: String) -> Bool { text.utf8.starts(with: part.utf8) }

    private static func hasSuffix(_ text: String, _ part: String) -> Bool {
        text.utf8.count >= part.utf8.count && text.utf8.suffix(part.utf8.count).elementsEqual(part.utf8)
    }

    private static func slice(_ text: String, _ start: Int, _ end: Int?) -> String {
        TemplateText.decoded(Array(text.utf8)[start..<(end ?? text.utf8.count)])
    }

    private func hasEnd(_ text: String, _ value: TemplateDatum, atStart: Bool) throws(ChatTemplateError) -> Bool {
        var parts = [value]
        if case .tuple(let list) = value { parts = list.items }
        for part in parts {
            guard case .string(let part) = part else {
                throw failure("'\(atStart ? "startswith" : "endswith")' needs a string, not '\(part.typeName)'")
            }
            if atStart ? Self.hasPrefix(text, part) : Self.hasSuffix(text, part) { return true }
        }
        return false
    }

    private func split(
        _ text: String, _ bound: [TemplateDatum?], fromRight: Bool
    ) throws(ChatTemplateError) -> TemplateDatum {
        let number = bound[1]?.wholeNumber ?? -1
        let limit = number < 0 ? Int.max : number
        guard let separator = try optionalText(bound[0], "split") else {
            return try list(TemplateText.words(text, limit: limit, fromRight: fromRight).map(TemplateDatum.string))
        }
        guard !separator.isEmpty else { throw failure("'split' at an empty string") }
        try spend(separator.utf8.count)
        let pieces = TemplateText.split(text, at: separator, limit: limit, fromRight: fromRight)
        return try list(pieces.map(TemplateDatum.string))
    }

    /// Places are counted in code points.
    private func find(
        _ method: TemplateMethod, _ part: String, in text: String
    ) throws(ChatTemplateError) -> TemplateDatum {
        var bytes = Array(text.utf8)
        var pattern = Array(part.utf8)
        if method == .rfind {
            bytes.reverse()
            pattern.reverse()
        }
        var place = pattern.isEmpty ? 0 : TemplateText.occurrences(of: pattern, in: bytes, limit: 1).first
        if method == .rfind { place = place.map { bytes.count - $0 - pattern.count } }
        guard let place else {
            guard method != .index else { throw failure("the string to find does not occur") }
            return .int(-1)
        }
        return .int(Self.slice(text, 0, place).unicodeScalars.count)
    }

    /// `str.format` with `{}`, `{0}` and `{name}`; what follows a name is not supported.
    private func formatted(_ format: String, _ arguments: TemplateArguments) throws(ChatTemplateError) -> String {
        try spend(format.utf8.count)
        var result = ""
        var next = 0
        var scalars = format.unicodeScalars[...]
        while let scalar = scalars.popFirst() {
            guard scalar == "{" || scalar == "}" else {
                result.unicodeScalars.append(scalar)
                continue
            }
            if scalars.first == scalar {
                result.unicodeScalars.append(scalar)
                scalars.removeFirst()
                continue
            }
            guard scalar == "{", let end = scalars.firstIndex(of: "}") else {
                throw failure("a single '\(scalar)' in a format")
            }
            let field = String(scalars[..<end])
            scalars = scalars[scalars.index(after: end)...]
            var value = arguments.named.first { $0.name == field }?.value
            if let place = field.isEmpty ? next : Int(field), arguments.positional.indices.contains(place) {
                value = arguments.positional[place]
                if field.isEmpty { next += 1 }
            }
            guard let value else { throw failure("the format field '{\(field)}' has no value or is not supported") }
            try append(try text(of: value), to: &result)
        }
        return result
    }
}
