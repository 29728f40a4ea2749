// TemplateToken: what the lexer hands to the parser.

struct TemplateToken {
    enum Kind: Equatable {
        /// Output as it stands.
        case text(String)
        /// `{{` and `}}`.
        case outputBegin, outputEnd
        /// `{%` and `%}`.
        case blockBegin, blockEnd
        case name(String)
        case string(String)
        case integer(Int)
        case float(Double)
        case mark(TemplateMark)
        case end
    }

    let kind: Kind
    /// In the source, from 1.
    let line: Int

    /// The token in words, for messages.
    var name: String {
        switch kind {
        case .text: "text"
        case .outputBegin: "'{{'"
        case .outputEnd: "'}}'"
        case .blockBegin: "'{%'"
        case .blockEnd: "'%}'"
        case .name(let name): "'\(name)'"
        case .string: "a string"
        case .integer, .float: "a number"
        case .mark(let mark): "'\(mark.rawValue)'"
        case .end: "the end of the template"
        }
    }
}

/// Operators and brackets.
enum TemplateMark: String {
    case plus = "+"
    case minus = "-"
    case times = "*"
    case power = "**"
    case divide = "/"
    case floorDivide = "//"
    case modulo = "%"
    case tilde = "~"
    case equal = "=="
    case notEqual = "!="
    case less = "<"
    case lessOrEqual = "<="
    case greater = ">"
    case greaterOrEqual = ">="
    case assign = "="
    case dot = "."
    case colon = ":"
    case pipe = "|"
    case comma = ","
    case leftParenthesis = "("
    case rightParenthesis = ")"
    case leftBracket = "["
    case rightBracket = "]"
    case leftBrace = "{"
    case rightBrace = "}"

    /// The bracket that closes this one.
    var closing: TemplateMark? {
        switch self {
        case .leftParenthesis: .rightParenthesis
        case .leftBracket: .rightBracket
        case .leftBrace: .rightBrace
        default: nil
        }
    }
}
