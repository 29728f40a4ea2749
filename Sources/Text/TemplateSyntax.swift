// TemplateSyntax: the tree that the parser builds and the evaluator walks.
//
// Chains of one precedence (`a + b - c`, `x.y[0] | f`) are flat lists, not nested pairs: the depth of the tree is then
// the depth of brackets and blocks in the source, which the parser limits, and no walk over it can overflow the stack.

/// A parsed template.
struct TemplateProgram: Sendable {
    let body: [TemplateStatement]
    /// Every variable name of the source; a `TemplateName` is an index into it.
    let names: [String]
}

/// A variable, as an index into `TemplateProgram.names`.
typealias TemplateName = Int

indirect enum TemplateExpression: Sendable {
    /// Null, a boolean, a number or a string.
    case literal(TemplateValue)
    case name(TemplateName)
    case list([TemplateExpression])
    case tuple([TemplateExpression])
    case dictionary([(key: TemplateExpression, value: TemplateExpression)])
    case negative(TemplateExpression)
    case positive(TemplateExpression)
    case not(TemplateExpression)
    case and([TemplateExpression])
    case or([TemplateExpression])
    /// Operators of one precedence, from the left.
    case arithmetic(TemplateExpression, [(mark: TemplateMark, operand: TemplateExpression)])
    /// `a ~ b ~ c`.
    case concatenation([TemplateExpression])
    /// `a < b <= c`: every neighbouring pair must hold.
    case comparison(TemplateExpression, [(relation: TemplateRelation, operand: TemplateExpression)])
    /// `x if a else y if b`: the last condition is asked first.
    case conditional(TemplateExpression, [(condition: TemplateExpression, otherwise: TemplateExpression?)])
    /// A value and what is applied to it, in order.
    case chain(TemplateExpression, [TemplateStep])
}

enum TemplateRelation: Sendable {
    case equal, notEqual, less, lessOrEqual, greater, greaterOrEqual, isIn, isNotIn
}

/// One link of a chain.
enum TemplateStep: Sendable {
    /// `.name`, and the method of that name if any type has one.
    case attribute(String, TemplateMethod?)
    case item(TemplateExpression)
    case slice(start: TemplateExpression?, end: TemplateExpression?, stride: TemplateExpression?)
    case call(TemplateCall)
    case filter(TemplateFilter, TemplateCall)
    case test(TemplateTest, TemplateCall, isNegated: Bool)
}

/// The arguments of a call in the source.
struct TemplateCall: Sendable {
    var positional: [TemplateExpression] = []
    var named: [(name: String, value: TemplateExpression)] = []
}

/// What `set` and `for` assign to.
indirect enum TemplateTarget: Sendable {
    case name(TemplateName)
    /// `namespace.attribute`.
    case attribute(TemplateName, String)
    case tuple([TemplateTarget])
}

/// A block or a piece of output, with its line in the source.
struct TemplateStatement: Sendable {
    let line: Int
    let kind: TemplateStatementKind
}

indirect enum TemplateStatementKind: Sendable {
    case text(String)
    case output(TemplateExpression)
    case evaluate(TemplateExpression)
    case conditional([(condition: TemplateExpression, body: [TemplateStatement])], otherwise: [TemplateStatement])
    case loop(TemplateLoopSyntax)
    case assign(TemplateTarget, TemplateExpression)
    /// The rendered body, with filters applied.
    case capture(TemplateTarget, [TemplateStep], body: [TemplateStatement])
    case macro(TemplateMacroSyntax)
    /// `{% call(parameters) callee %}`: the macro is what the callee sees as `caller`.
    case callBlock(TemplateMacroSyntax, callee: TemplateExpression, TemplateCall)
    case filterBlock([TemplateStep], body: [TemplateStatement])
    /// New variables for the body only; `generation` is one without variables.
    case scope([(target: TemplateTarget, value: TemplateExpression)], body: [TemplateStatement])
    case breakLoop
    case continueLoop
}

struct TemplateLoopSyntax: Sendable {
    let target: TemplateTarget
    let sequence: TemplateExpression
    let condition: TemplateExpression?
    let body: [TemplateStatement]
    let otherwise: [TemplateStatement]
    /// The name `loop`.
    let loop: TemplateName
}

final class TemplateMacroSyntax: Sendable {
    let name: String
    let parameters: [(name: String, variable: TemplateName, fallback: TemplateExpression?)]
    let body: [TemplateStatement]
    /// The macro's own variable, and the name `caller`.
    let variable: TemplateName
    let caller: TemplateName

    init(
        name: String, parameters: [(name: String, variable: TemplateName, fallback: TemplateExpression?)],
        body: [TemplateStatement], variable: TemplateName, caller: TemplateName
    ) {
        self.name = name
        self.parameters = parameters
        self.body = body
        self.variable = variable
        self.caller = caller
    }
}
