// TemplateEvaluator: walks the tree of one template with the variables of one request.
//
// Owner: the call of `render`; nothing is shared between renderings. Recursion is bounded by `enter`, work and memory
// by `spend`, both of `TemplateBudget`.
// Reading order: this file (statements), +Expressions, +Operators, +Access, +Calls, then filters, tests and methods.

final class TemplateEvaluator {
    enum Flow { case next, breakLoop, continueLoop }

    let program: TemplateProgram
    var scope: TemplateScope
    /// The line of the statement that runs, for messages.
    var line = 1
    private var output = ""
    private var budget = TemplateBudget()
    private var depth = 0
    private var keptLists: [TemplateList] = []
    private var keptNamespaces: [TemplateNamespace] = []
    private var keptScopes: [TemplateScope] = []

    private init(_ program: TemplateProgram) {
        self.program = program
        scope = TemplateScope(globals: Array(repeating: nil, count: program.names.count))
    }

    static func render(
        _ program: TemplateProgram, _ variables: [String: TemplateValue]
    ) throws(ChatTemplateError) -> String {
        let evaluator = TemplateEvaluator(program)
        defer { evaluator.letGo() }
        for (place, name) in program.names.enumerated() {
            if let value = variables[name] {
                evaluator.scope.set(place, try evaluator.datum(value))
            } else if let function = TemplateFunction(rawValue: name) {
                evaluator.scope.set(place, .function(function))
            }
        }
        _ = try evaluator.execute(program.body)
        return evaluator.output
    }

    /// Breaks every cycle of references; see `TemplateDatum`.
    private func letGo() {
        for list in keptLists { list.removeAll() }
        for namespace in keptNamespaces { namespace.removeAll() }
        for scope in keptScopes { scope.removeAll() }
        scope.removeAll()
    }

    // MARK: Limits

    func failure(_ message: String) -> ChatTemplateError { ChatTemplateError("line \(line): \(message)") }

    /// Pays for work; throws when the budget is used up.
    func spend(_ units: Int) throws(ChatTemplateError) {
        guard budget.spend(units) else { throw failure("the template does too much work") }
    }

    /// One level deeper; `leave` comes back.
    func enter() throws(ChatTemplateError) {
        depth += 1
        guard depth <= TemplateBudget.maximumCallDepth else {
            depth -= 1
            throw failure("the template recurses too deeply")
        }
    }

    func leave() { depth -= 1 }

    /// `text` as a value, if it is not too long.
    func string(_ text: String) throws(ChatTemplateError) -> TemplateDatum {
        try checkLength(text.utf8.count)
        return .string(text)
    }

    /// Pays for a string of `count` bytes that is about to be made.
    func checkLength(_ count: Int) throws(ChatTemplateError) {
        guard count <= TemplateBudget.maximumText else {
            throw failure("a string is longer than \(TemplateBudget.maximumText) bytes")
        }
        try spend(count)
    }

    /// Makes `text` longer by `piece`, and pays for the piece only.
    func append(_ piece: String, to text: inout String) throws(ChatTemplateError) {
        guard text.utf8.count + piece.utf8.count <= TemplateBudget.maximumText else {
            throw failure("a string is longer than \(TemplateBudget.maximumText) bytes")
        }
        try spend(piece.utf8.count)
        text += piece
    }

    /// `items` as a new list, if it is neither too long nor too deep.
    func newList(_ items: [TemplateDatum]) throws(ChatTemplateError) -> TemplateList {
        try checkCount(items.count)
        let list = TemplateList(items)
        try checkDepth(list.depth)
        return list
    }

    func list(_ items: [TemplateDatum]) throws(ChatTemplateError) -> TemplateDatum { .list(try newList(items)) }

    func dictionary(_ members: [(key: TemplateDatum, value: TemplateDatum)]) throws(ChatTemplateError) -> TemplateDatum
    {
        try checkCount(members.count)
        for member in members where TemplateKey(member.key) == nil {
            throw failure("'\(member.key.typeName)' cannot be a key of a dictionary")
        }
        let dictionary = TemplateDictionary(members)
        try checkDepth(dictionary.depth)
        return .dict(dictionary)
    }

    func checkCount(_ count: Int) throws(ChatTemplateError) {
        guard count <= TemplateBudget.maximumItems else {
            throw failure("a list is longer than \(TemplateBudget.maximumItems)")
        }
        try spend(count * TemplateBudget.node / 4)
    }

    private func checkDepth(_ depth: Int) throws(ChatTemplateError) {
        guard depth <= TemplateBudget.maximumValueDepth else { throw failure("a value is nested too deeply") }
    }

    func append(_ item: TemplateDatum, to list: TemplateList) throws(ChatTemplateError) {
        try checkDepth(item.depth + 1)
        guard list.items.count < TemplateBudget.maximumItems else {
            throw failure("a list is longer than \(TemplateBudget.maximumItems)")
        }
        if !list.isKept { keptLists.append(list) }
        list.isKept = true
        list.append(item)
    }

    func makeNamespace() -> TemplateNamespace {
        let namespace = TemplateNamespace()
        keptNamespaces.append(namespace)
        return namespace
    }

    /// A macro that sees what is set at this place.
    func makeMacro(_ syntax: TemplateMacroSyntax) -> TemplateMacro {
        if !scope.isCaptured { keptScopes.append(scope) }
        scope.isCaptured = true
        return TemplateMacro(syntax, in: scope)
    }

    private func datum(_ value: TemplateValue, depth: Int = 0) throws(ChatTemplateError) -> TemplateDatum {
        guard depth < TemplateBudget.maximumValueDepth else { throw failure("a value is nested too deeply") }
        switch value {
        case .null: return .null
        case .bool(let value): return .bool(value)
        case .int(let value): return .int(value)
        case .double(let value): return .double(value)
        case .string(let text): return try string(text)
        case .array(let values):
            var items: [TemplateDatum] = []
            items.reserveCapacity(values.count)
            for value in values { items.append(try datum(value, depth: depth + 1)) }
            return try list(items)
        case .object(let members):
            var result: [(key: TemplateDatum, value: TemplateDatum)] = []
            result.reserveCapacity(members.count)
            for member in members { result.append((.string(member.key), try datum(member.value, depth: depth + 1))) }
            return try dictionary(result)
        }
    }

    // MARK: Output

    private func emit(_ text: String) throws(ChatTemplateError) { try append(text, to: &output) }

    /// What `body` writes, in a scope of its own.
    func captured(_ body: [TemplateStatement], in inner: TemplateScope) throws(ChatTemplateError) -> String {
        let outerOutput = output
        let outerScope = scope
        let outerLine = line
        output = ""
        scope = inner
        defer {
            output = outerOutput
            scope = outerScope
            line = outerLine
        }
        _ = try execute(body)
        return output
    }

    // MARK: Statements

    func execute(_ statements: [TemplateStatement]) throws(ChatTemplateError) -> Flow {
        try enter()
        defer { leave() }
        for statement in statements {
            line = statement.line
            try spend(TemplateBudget.node)
            let flow = try execute(statement.kind)
            guard flow == .next else { return flow }
        }
        return .next
    }

    private func execute(_ statement: TemplateStatementKind) throws(ChatTemplateError) -> Flow {
        switch statement {
        case .text(let text): try emit(text)
        case .output(let expression): try emit(try text(of: try evaluate(expression)))
        case .evaluate(let expression): _ = try evaluate(expression)
        case .conditional(let branches, let otherwise):
            for branch in branches where try evaluate(branch.condition).isTrue { return try execute(branch.body) }
            return try execute(otherwise)
        case .loop(let syntax): return try loop(syntax)
        case .assign(let target, let expression): try assign(try evaluate(expression), to: target)
        case .capture(let target, let filters, let body):
            let text = try captured(body, in: TemplateScope(inside: scope))
            try assign(try apply(filters, to: .string(text)), to: target)
        case .macro(let syntax): scope.set(syntax.variable, .macro(makeMacro(syntax)))
        case .callBlock(let syntax, let callee, let call):
            var arguments = try evaluate(call)
            arguments.named.append(("caller", .macro(makeMacro(syntax))))
            try emit(try text(of: try self.call(try evaluate(callee), arguments)))
        case .filterBlock(let filters, let body):
            let text = try captured(body, in: TemplateScope(inside: scope))
            try emit(try self.text(of: try apply(filters, to: .string(text))))
        case .scope(let variables, let body): return try scoped(variables, body)
        case .breakLoop: return .breakLoop
        case .continueLoop: return .continueLoop
        }
        return .next
    }

    private func scoped(
        _ variables: [(target: TemplateTarget, value: TemplateExpression)], _ body: [TemplateStatement]
    ) throws(ChatTemplateError) -> Flow {
        let outer = scope
        defer { scope = outer }
        let inner = TemplateScope(inside: outer)
        for variable in variables {
            // Values are those of the outer scope.
            scope = outer
            let value = try evaluate(variable.value)
            scope = inner
            try assign(value, to: variable.target)
        }
        scope = inner
        return try execute(body)
    }

    private func loop(_ syntax: TemplateLoopSyntax) throws(ChatTemplateError) -> Flow {
        var items = try self.items(of: try evaluate(syntax.sequence))
        let outer = scope
        defer { scope = outer }
        var inner = TemplateScope(inside: outer)
        scope = inner
        if let condition = syntax.condition {
            var kept: [TemplateDatum] = []
            for item in items {
                inner.removeAll()
                try spend(TemplateBudget.node)
                try assign(item, to: syntax.target)
                if try evaluate(condition).isTrue { kept.append(item) }
            }
            items = kept
        }
        let loop = TemplateLoop(items)
        defer { loop.end() }
        for (index, item) in items.enumerated() {
            if inner.isCaptured { inner = TemplateScope(inside: outer) } else { inner.removeAll() }
            scope = inner
            try spend(TemplateBudget.node)
            loop.index = index
            inner.set(syntax.loop, .loop(loop))
            try assign(item, to: syntax.target)
            if try execute(syntax.body) == .breakLoop { return .next }
        }
        scope = outer
        return items.isEmpty ? try execute(syntax.otherwise) : .next
    }

    private func assign(_ value: TemplateDatum, to target: TemplateTarget) throws(ChatTemplateError) {
        switch target {
        case .name(let name): scope.set(name, value)
        case .attribute(let name, let attribute):
            guard case .namespace(let namespace)? = scope[name] else {
                throw failure("'\(program.names[name]).\(attribute)' can only be set on a namespace")
            }
            namespace[attribute] = value
        case .tuple(let targets):
            let items = try self.items(of: value)
            guard items.count == targets.count else {
                throw failure("cannot unpack \(items.count) values into \(targets.count) names")
            }
            for (item, target) in zip(items, targets) { try assign(item, to: target) }
        }
    }
}
