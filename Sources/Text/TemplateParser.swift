// TemplateParser: tokens into the tree of `TemplateSyntax`; this file has the blocks, `+Expressions` the rest.
//
// Method: recursive descent with one token of look-ahead, in the grammar of Jinja 3.

struct TemplateParser {
    private let tokens: [TemplateToken]
    private var position = 0
    private var depth = 0
    private var loopDepth = 0
    private var names: [String] = []
    private var places: [String: TemplateName] = [:]

    private init(_ tokens: [TemplateToken]) { self.tokens = tokens }

    /// The program that `tokens` spell.
    static func program(of tokens: [TemplateToken]) throws(ChatTemplateError) -> TemplateProgram {
        var parser = TemplateParser(tokens)
        let body = try parser.statements(until: [])
        return TemplateProgram(body: body, names: parser.names)
    }

    // MARK: Tokens

    var token: TemplateToken { tokens[position] }

    var following: TemplateToken { tokens[min(position + 1, tokens.count - 1)] }

    func failure(_ message: String) -> ChatTemplateError { ChatTemplateError("line \(token.line): \(message)") }

    mutating func advance() { if position < tokens.count - 1 { position += 1 } }

    mutating func skip(_ mark: TemplateMark) -> Bool { skip(.mark(mark)) }

    mutating func skip(word: String) -> Bool { skip(.name(word)) }

    private mutating func skip(_ kind: TemplateToken.Kind) -> Bool {
        guard token.kind == kind else { return false }
        advance()
        return true
    }

    mutating func expect(_ mark: TemplateMark) throws(ChatTemplateError) {
        guard skip(mark) else { throw failure("expected '\(mark.rawValue)', found \(token.name)") }
    }

    private mutating func expectBlockEnd() throws(ChatTemplateError) {
        guard skip(.blockEnd) else { throw failure("expected '%}', found \(token.name)") }
    }

    mutating func identifier() throws(ChatTemplateError) -> String {
        guard case .name(let name) = token.kind else { throw failure("expected a name, found \(token.name)") }
        advance()
        return name
    }

    /// The number of `name`, given at its first use.
    mutating func variable(_ name: String) -> TemplateName {
        if let place = places[name] { return place }
        names.append(name)
        places[name] = names.count - 1
        return names.count - 1
    }

    /// One level deeper in the source; `leave` comes back.
    mutating func enter() throws(ChatTemplateError) {
        depth += 1
        guard depth <= TemplateBudget.maximumSourceDepth else {
            throw failure("nesting deeper than \(TemplateBudget.maximumSourceDepth)")
        }
    }

    mutating func leave() { depth -= 1 }

    // MARK: Blocks

    /// Statements up to a block whose name is in `ends`; that name is the next token then.
    private mutating func statements(until ends: [String]) throws(ChatTemplateError) -> [TemplateStatement] {
        try enter()
        defer { leave() }
        let opening = token
        var result: [TemplateStatement] = []
        while true {
            let line = token.line
            switch token.kind {
            case .text(let text):
                advance()
                result.append(TemplateStatement(line: line, kind: .text(text)))
            case .outputBegin:
                advance()
                let value = try expressions()
                guard skip(.outputEnd) else { throw failure("expected '}}', found \(token.name)") }
                result.append(TemplateStatement(line: line, kind: .output(value)))
            case .blockBegin:
                advance()
                if case .name(let name) = token.kind, ends.contains(name) { return result }
                result.append(TemplateStatement(line: line, kind: try block()))
            default:
                guard ends.isEmpty else {
                    throw ChatTemplateError("line \(opening.line): expected '{% \(ends.last ?? "") %}' before the end")
                }
                return result
            }
        }
    }

    /// `%}`, statements and `{% end %}`.
    private mutating func body(until end: String) throws(ChatTemplateError) -> [TemplateStatement] {
        try expectBlockEnd()
        let body = try statements(until: [end])
        advance()
        try expectBlockEnd()
        return body
    }

    private mutating func block() throws(ChatTemplateError) -> TemplateStatementKind {
        let start = token
        let name = try identifier()
        switch name {
        case "if": return try conditional()
        case "for": return try loop()
        case "set": return try assignment()
        case "macro": return try macro()
        case "call": return try callBlock()
        case "generation": return .scope([], body: try body(until: "endgeneration"))
        case "with": return try with()
        case "filter":
            let filters = try filterChain(isLeading: true)
            return .filterBlock(filters, body: try body(until: "endfilter"))
        case "do":
            let value = try expressions()
            try expectBlockEnd()
            return .evaluate(value)
        case "break", "continue":
            guard loopDepth > 0 else { throw ChatTemplateError("line \(start.line): '\(name)' outside a loop") }
            try expectBlockEnd()
            return name == "break" ? .breakLoop : .continueLoop
        default:
            throw ChatTemplateError("line \(start.line): '{% \(name) %}' is not expected here or not supported")
        }
    }

    private mutating func conditional() throws(ChatTemplateError) -> TemplateStatementKind {
        var branches: [(condition: TemplateExpression, body: [TemplateStatement])] = []
        while true {
            let condition = try expressions(withConditional: false)
            try expectBlockEnd()
            branches.append((condition, try statements(until: ["elif", "else", "endif"])))
            if skip(word: "elif") { continue }
            if skip(word: "else") { return .conditional(branches, otherwise: try body(until: "endif")) }
            advance()
            try expectBlockEnd()
            return .conditional(branches, otherwise: [])
        }
    }

    private mutating func loop() throws(ChatTemplateError) -> TemplateStatementKind {
        let target = try target(allowsAttribute: false)
        guard skip(word: "in") else { throw failure("expected 'in', found \(token.name)") }
        let sequence = try expressions(withConditional: false)
        let condition = skip(word: "if") ? try expression() : nil
        guard token.kind != .name("recursive") else { throw failure("'recursive' loops are not supported") }
        try expectBlockEnd()
        loopDepth += 1
        let body = try statements(until: ["else", "endfor"])
        loopDepth -= 1
        var otherwise: [TemplateStatement] = []
        if skip(word: "else") {
            otherwise = try self.body(until: "endfor")
        } else {
            advance()
            try expectBlockEnd()
        }
        return .loop(
            TemplateLoopSyntax(
                target: target, sequence: sequence, condition: condition, body: body, otherwise: otherwise,
                loop: variable("loop")))
    }

    private mutating func target(allowsAttribute: Bool) throws(ChatTemplateError) -> TemplateTarget {
        var targets = [try simpleTarget(allowsAttribute)]
        guard token.kind == .mark(.comma) else { return targets[0] }
        while skip(.comma) {
            guard case .name(let name) = token.kind, name != "in" else {
                guard token.kind == .mark(.leftParenthesis) else { break }
                targets.append(try simpleTarget(allowsAttribute))
                continue
            }
            targets.append(try simpleTarget(allowsAttribute))
        }
        return .tuple(targets)
    }

    private mutating func simpleTarget(_ allowsAttribute: Bool) throws(ChatTemplateError) -> TemplateTarget {
        if skip(.leftParenthesis) {
            try enter()
            defer { leave() }
            let inner = try target(allowsAttribute: allowsAttribute)
            try expect(.rightParenthesis)
            return inner
        }
        let name = try identifier()
        let constants = ["true", "false", "none", "True", "False", "None"]
        guard !constants.contains(name) else { throw failure("'\(name)' cannot be assigned to") }
        guard allowsAttribute, skip(.dot) else { return .name(variable(name)) }
        return .attribute(variable(name), try identifier())
    }

    private mutating func assignment() throws(ChatTemplateError) -> TemplateStatementKind {
        let target = try target(allowsAttribute: true)
        if skip(.assign) {
            let value = try expressions()
            try expectBlockEnd()
            return .assign(target, value)
        }
        let filters = try filterChain(isLeading: false)
        return .capture(target, filters, body: try body(until: "endset"))
    }

    private mutating func with() throws(ChatTemplateError) -> TemplateStatementKind {
        var variables: [(target: TemplateTarget, value: TemplateExpression)] = []
        while token.kind != .blockEnd {
            if !variables.isEmpty { try expect(.comma) }
            let target = try simpleTarget(false)
            try expect(.assign)
            variables.append((target, try expression()))
        }
        return .scope(variables, body: try body(until: "endwith"))
    }

    // MARK: Macros

    private mutating func macro() throws(ChatTemplateError) -> TemplateStatementKind {
        let name = try identifier()
        guard token.kind == .mark(.leftParenthesis) else { throw failure("expected '(', found \(token.name)") }
        return .macro(try macroSyntax(name: name, end: "endmacro"))
    }

    private mutating func callBlock() throws(ChatTemplateError) -> TemplateStatementKind {
        let parameters = token.kind == .mark(.leftParenthesis) ? try self.parameters() : []
        let line = token.line
        guard case .chain(let base, var steps) = try expression(), case .call(let call)? = steps.popLast() else {
            throw ChatTemplateError("line \(line): '{% call %}' needs a call")
        }
        let syntax = try macroSyntax(name: "caller", end: "endcall", parameters: parameters)
        return .callBlock(syntax, callee: steps.isEmpty ? base : .chain(base, steps), call)
    }

    private typealias Parameters = [(name: String, variable: TemplateName, fallback: TemplateExpression?)]

    private mutating func parameters() throws(ChatTemplateError) -> Parameters {
        var result: Parameters = []
        try expect(.leftParenthesis)
        while !skip(.rightParenthesis) {
            if !result.isEmpty { try expect(.comma) }
            let name = try identifier()
            let variable = variable(name)
            result.append((name, variable, skip(.assign) ? try expression() : nil))
        }
        return result
    }

    private mutating func macroSyntax(
        name: String, end: String, parameters: Parameters? = nil
    ) throws(ChatTemplateError) -> TemplateMacroSyntax {
        let parameters = if let parameters { parameters } else { try self.parameters() }
        let outerLoops = loopDepth
        loopDepth = 0
        defer { loopDepth = outerLoops }
        let body = try body(until: end)
        return TemplateMacroSyntax(
            name: name, parameters: parameters, body: body, variable: variable(name), caller: variable("caller"))
    }
}
