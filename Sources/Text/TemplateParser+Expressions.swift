// TemplateParser+Expressions: operators by precedence, loosest first, as Jinja binds them:
// inline if, or, and, not, comparisons, + -, ~, * / // %, **, unary signs, then attributes, calls, filters and tests.

extension TemplateParser {
    /// An expression, or several with commas, which are a tuple.
    mutating func expressions(withConditional: Bool = true) throws(ChatTemplateError) -> TemplateExpression {
        let first = withConditional ? try expression() : try disjunction()
        guard token.kind == .mark(.comma) else { return first }
        var items = [first]
        while skip(.comma) {
            switch token.kind {
            case .blockEnd, .outputEnd, .mark(.rightParenthesis): return .tuple(items)
            default: items.append(withConditional ? try expression() : try disjunction())
            }
        }
        return .tuple(items)
    }

    mutating func expression() throws(ChatTemplateError) -> TemplateExpression {
        try enter()
        defer { leave() }
        let value = try disjunction()
        var cases: [(condition: TemplateExpression, otherwise: TemplateExpression?)] = []
        while skip(word: "if") {
            let condition = try disjunction()
            cases.append((condition, skip(word: "else") ? try expression() : nil))
        }
        return cases.isEmpty ? value : .conditional(value, cases)
    }

    private mutating func disjunction() throws(ChatTemplateError) -> TemplateExpression {
        var operands = [try conjunction()]
        while skip(word: "or") { operands.append(try conjunction()) }
        return operands.count == 1 ? operands[0] : .or(operands)
    }

    private mutating func conjunction() throws(ChatTemplateError) -> TemplateExpression {
        var operands = [try negation()]
        while skip(word: "and") { operands.append(try negation()) }
        return operands.count == 1 ? operands[0] : .and(operands)
    }

    private mutating func negation() throws(ChatTemplateError) -> TemplateExpression {
        guard skip(word: "not") else { return try comparison() }
        try enter()
        defer { leave() }
        return .not(try negation())
    }

    private mutating func comparison() throws(ChatTemplateError) -> TemplateExpression {
        let first = try sum()
        var rest: [(relation: TemplateRelation, operand: TemplateExpression)] = []
        while let relation = relation() { rest.append((relation, try sum())) }
        return rest.isEmpty ? first : .comparison(first, rest)
    }

    private mutating func relation() -> TemplateRelation? {
        let relation: TemplateRelation
        switch token.kind {
        case .mark(.equal): relation = .equal
        case .mark(.notEqual): relation = .notEqual
        case .mark(.less): relation = .less
        case .mark(.lessOrEqual): relation = .lessOrEqual
        case .mark(.greater): relation = .greater
        case .mark(.greaterOrEqual): relation = .greaterOrEqual
        case .name("in"): relation = .isIn
        case .name("not") where following.kind == .name("in"):
            advance()
            relation = .isNotIn
        default: return nil
        }
        advance()
        return relation
    }

    private mutating func sum() throws(ChatTemplateError) -> TemplateExpression {
        let first = try concatenation()
        var rest: [(mark: TemplateMark, operand: TemplateExpression)] = []
        while case .mark(let mark) = token.kind, mark == .plus || mark == .minus {
            advance()
            rest.append((mark, try concatenation()))
        }
        return rest.isEmpty ? first : .arithmetic(first, rest)
    }

    private mutating func concatenation() throws(ChatTemplateError) -> TemplateExpression {
        var operands = [try product()]
        while skip(.tilde) { operands.append(try product()) }
        return operands.count == 1 ? operands[0] : .concatenation(operands)
    }

    private mutating func product() throws(ChatTemplateError) -> TemplateExpression {
        let first = try power()
        var rest: [(mark: TemplateMark, operand: TemplateExpression)] = []
        while case .mark(let mark) = token.kind,
            mark == .times || mark == .divide || mark == .floorDivide || mark == .modulo
        {
            advance()
            rest.append((mark, try power()))
        }
        return rest.isEmpty ? first : .arithmetic(first, rest)
    }

    private mutating func power() throws(ChatTemplateError) -> TemplateExpression {
        let first = try unary(withFilters: true)
        var rest: [(mark: TemplateMark, operand: TemplateExpression)] = []
        while skip(.power) { rest.append((.power, try unary(withFilters: true))) }
        return rest.isEmpty ? first : .arithmetic(first, rest)
    }

    private mutating func unary(withFilters: Bool) throws(ChatTemplateError) -> TemplateExpression {
        let base: TemplateExpression
        if skip(.minus) {
            try enter()
            defer { leave() }
            base = .negative(try unary(withFilters: false))
        } else if skip(.plus) {
            try enter()
            defer { leave() }
            base = .positive(try unary(withFilters: false))
        } else {
            base = try primary()
        }
        var steps = try postfixes()
        if withFilters { steps += try filterChain(isLeading: false) }
        return steps.isEmpty ? base : .chain(base, steps)
    }

    // MARK: Primaries

    private mutating func primary() throws(ChatTemplateError) -> TemplateExpression {
        switch token.kind {
        case .name(let name):
            advance()
            switch name {
            case "true", "True": return .literal(.bool(true))
            case "false", "False": return .literal(.bool(false))
            case "none", "None": return .literal(.null)
            default: return .name(variable(name))
            }
        case .string(var text):
            advance()
            // Neighbouring strings are one.
            while case .string(let more) = token.kind {
                text += more
                advance()
            }
            return .literal(.string(text))
        case .integer(let value):
            advance()
            return .literal(.int(value))
        case .float(let value):
            advance()
            return .literal(.double(value))
        case .mark(.leftParenthesis):
            advance()
            if skip(.rightParenthesis) { return .tuple([]) }
            let inner = try expressions()
            try expect(.rightParenthesis)
            return inner
        case .mark(.leftBracket):
            advance()
            var items: [TemplateExpression] = []
            while !skip(.rightBracket) {
                if !items.isEmpty { try expect(.comma) }
                if skip(.rightBracket) { break }
                items.append(try expression())
            }
            return .list(items)
        case .mark(.leftBrace): return try dictionary()
        default: throw failure("unexpected \(token.name)")
        }
    }

    private mutating func dictionary() throws(ChatTemplateError) -> TemplateExpression {
        advance()
        var members: [(key: TemplateExpression, value: TemplateExpression)] = []
        while !skip(.rightBrace) {
            if !members.isEmpty { try expect(.comma) }
            if skip(.rightBrace) { break }
            let key = try expression()
            try expect(.colon)
            members.append((key, try expression()))
        }
        return .dictionary(members)
    }

    // MARK: Chains

    /// Attributes, items and calls.
    private mutating func postfixes() throws(ChatTemplateError) -> [TemplateStep] {
        var steps: [TemplateStep] = []
        while true {
            switch token.kind {
            case .mark(.dot):
                advance()
                if case .integer(let index) = token.kind {
                    advance()
                    steps.append(.item(.literal(.int(index))))
                } else {
                    let name = try identifier()
                    steps.append(.attribute(name, TemplateMethod(rawValue: name)))
                }
            case .mark(.leftBracket): steps.append(try subscription())
            case .mark(.leftParenthesis): steps.append(.call(try call()))
            default: return steps
            }
        }
    }

    private mutating func subscription() throws(ChatTemplateError) -> TemplateStep {
        try expect(.leftBracket)
        var parts: [TemplateExpression?] = [nil]
        while !skip(.rightBracket) {
            if skip(.colon) {
                guard parts.count < 3 else { throw failure("a slice has at most three parts") }
                parts.append(nil)
            } else {
                guard parts[parts.count - 1] == nil else { throw failure("expected ']', found \(token.name)") }
                parts[parts.count - 1] = try expressions()
            }
        }
        if parts.count > 1 { return .slice(start: parts[0], end: parts[1], stride: parts.count == 3 ? parts[2] : nil) }
        guard let item = parts[0] else { throw failure("expected an index before ']'") }
        return .item(item)
    }

    private mutating func call() throws(ChatTemplateError) -> TemplateCall {
        try expect(.leftParenthesis)
        var call = TemplateCall()
        while !skip(.rightParenthesis) {
            if !call.positional.isEmpty || !call.named.isEmpty {
                try expect(.comma)
                if skip(.rightParenthesis) { break }
            }
            if case .mark(let mark) = token.kind, mark == .times || mark == .power {
                throw failure("'\(mark.rawValue)' before an argument is not supported")
            }
            if case .name(let name) = token.kind, following.kind == .mark(.assign) {
                advance()
                advance()
                call.named.append((name, try expression()))
            } else {
                guard call.named.isEmpty else { throw failure("an argument without a name after one with a name") }
                call.positional.append(try expression())
            }
        }
        return call
    }

    /// Filters, tests and calls of what they give. `isLeading`: the first filter stands without its `|`.
    mutating func filterChain(isLeading: Bool) throws(ChatTemplateError) -> [TemplateStep] {
        var steps: [TemplateStep] = []
        if isLeading { steps.append(try filter()) }
        while true {
            if skip(.pipe) {
                steps.append(try filter())
            } else if skip(word: "is") {
                steps.append(try test())
            } else if token.kind == .mark(.leftParenthesis), !steps.isEmpty {
                steps.append(.call(try call()))
            } else {
                return steps
            }
        }
    }

    private mutating func dottedName() throws(ChatTemplateError) -> String {
        var name = try identifier()
        while skip(.dot) { name += "." + (try identifier()) }
        return name
    }

    private mutating func filter() throws(ChatTemplateError) -> TemplateStep {
        let error = token
        let name = try dottedName()
        guard let filter = TemplateFilter(rawValue: name) else {
            throw ChatTemplateError("line \(error.line): the filter '\(name)' is not supported")
        }
        return .filter(filter, token.kind == .mark(.leftParenthesis) ? try call() : TemplateCall())
    }

    private mutating func test() throws(ChatTemplateError) -> TemplateStep {
        let isNegated = skip(word: "not")
        let start = token
        let name = try dottedName()
        guard let test = TemplateTest(rawValue: name) else {
            throw ChatTemplateError("line \(start.line): the test '\(name)' is not supported")
        }
        var arguments = TemplateCall()
        switch token.kind {
        case .mark(.leftParenthesis): arguments = try call()
        case .name("else"), .name("or"), .name("and"), .name("if"), .name("is"), .name("in"), .name("not"): break
        case .name, .string, .integer, .float, .mark(.leftBracket), .mark(.leftBrace):
            let value = try primary()
            let steps = try postfixes()
            arguments.positional = [steps.isEmpty ? value : .chain(value, steps)]
        default: break
        }
        return .test(test, arguments, isNegated: isNegated)
    }
}
