// TemplateBudget: what one rendering may cost, so that a hostile template ends with an error and nothing else.
//
// Work is counted, not time: a byte read or written costs one unit, an evaluated node or a turn of a loop 64. A
// real template with a million characters of chat stays below a fifth of the whole.

struct TemplateBudget {
    /// Longest string, output included, in bytes of UTF-8.
    static let maximumText = 16 << 20
    /// Longest list.
    static let maximumItems = 1 << 20
    /// Longest `range()`, the limit of Jinja's sandbox.
    static let maximumRange = 100_000
    /// Deepest nesting of lists and dictionaries; more than JSON input can have.
    static let maximumValueDepth = 640
    /// Deepest nesting of expressions and blocks in the source.
    static let maximumSourceDepth = 100
    /// Deepest recursion of the evaluator; bounds the stack.
    static let maximumCallDepth = 600
    /// What an evaluated node or a turn of a loop costs.
    static let node = 64

    private var remaining = 1 << 27

    /// Takes `units` from the budget; false when it is used up.
    mutating func spend(_ units: Int) -> Bool {
        guard units <= remaining else { return false }
        remaining -= units
        return true
    }
}
