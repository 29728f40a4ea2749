// TemplateConditions: what may stand behind `is`; Jinja calls these tests.

enum TemplateTest: String, Sendable {
    case boolean, callable, defined, divisibleby, eq, equalto, escaped, even, `false`, filter, float, ge, greaterthan
    case gt, `in`, integer, iterable, le, lessthan, lower, lt, mapping, ne, none, number, odd, sameas, sequence, string
    case test, `true`, undefined, upper
    case equalSign = "=="
    case notEqualSign = "!="
    case lessSign = "<"
    case lessOrEqualSign = "<="
    case greaterSign = ">"
    case greaterOrEqualSign = ">="

    /// The relation to the test's argument, for tests that are one.
    var relation: TemplateRelation? {
        switch self {
        case .eq, .equalto, .equalSign: .equal
        case .ne, .notEqualSign: .notEqual
        case .lt, .lessthan, .lessSign: .less
        case .le, .lessOrEqualSign: .lessOrEqual
        case .gt, .greaterthan, .greaterSign: .greater
        case .ge, .greaterOrEqualSign: .greaterOrEqual
        case .in: .isIn
        default: nil
        }
    }
}

extension TemplateEvaluator {
    func test(
        _ test: TemplateTest, _ value: TemplateDatum, _ arguments: TemplateArguments
    ) throws(ChatTemplateError) -> Bool {
        let needsArgument = test.relation != nil || test == .divisibleby || test == .sameas
        let bound = try bind(
            arguments, to: needsArgument ? ["other"] : [], of: test.rawValue, required: needsArgument ? 1 : 0)
        if let relation = test.relation, let other = bound[0] { return try holds(value, relation, other) }
        switch (test, value) {
        case (.defined, _): return !value.isUndefined
        case (.undefined, _): return value.isUndefined
        case (.none, .null), (.string, .string), (.mapping, .dict), (.float, .double): return true
        case (.boolean, .bool), (.true, .bool(true)), (.false, .bool(false)), (.integer, .int): return true
        case (.number, .bool), (.number, .int), (.number, .double): return true
        case (.sequence, .undefined), (.sequence, .string), (.sequence, .list), (.sequence, .tuple), (.sequence, .dict):
            return true
        case (.iterable, .undefined), (.iterable, .string), (.iterable, .list), (.iterable, .tuple), (.iterable, .dict):
            return true
        case (.callable, .undefined), (.callable, .macro), (.callable, .function), (.callable, .method): return true
        case (.even, _): return try isEqual(try arithmetic(value, .modulo, .int(2)), .int(0))
        case (.odd, _): return try isEqual(try arithmetic(value, .modulo, .int(2)), .int(1))
        case (.divisibleby, _): return try isEqual(try arithmetic(value, .modulo, bound[0] ?? .null), .int(0))
        case (.sameas, _): return try isSame(value, bound[0] ?? .null)
        case (.lower, _), (.upper, _):
            let text = try text(of: value)
            try spend(text.utf8.count)
            return TemplateText.isCased(text, upper: test == .upper)
        case (.filter, .string(let name)): return TemplateFilter(rawValue: name) != nil
        case (.test, .string(let name)): return TemplateTest(rawValue: name) != nil
        default: return false
        }
    }

    /// Python's `is`: the same object, where values have no identity the same type and value.
    private func isSame(_ left: TemplateDatum, _ right: TemplateDatum) throws(ChatTemplateError) -> Bool {
        switch (left, right) {
        case (.list(let a), .list(let b)), (.tuple(let a), .tuple(let b)): a === b
        case (.dict(let a), .dict(let b)): a === b
        default: left.typeName == right.typeName ? try isEqual(left, right) : false
        }
    }
}

extension TemplateText {
    /// Python's `islower` or `isupper`: some letter has a case, and all that have one have this.
    static func isCased(_ text: String, upper: Bool) -> Bool {
        var isSome = false
        for scalar in text.unicodeScalars where scalar.properties.isCased {
            guard upper ? scalar.properties.isUppercase : scalar.properties.isLowercase else { return false }
            isSome = true
        }
        return isSome
    }
}
