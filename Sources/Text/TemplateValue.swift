// TemplateValue: what a caller hands to a chat template: JSON, with the order of keys kept.

/// A value in a chat template.
public indirect enum TemplateValue: Sendable, Equatable {
    /// Python's `None`, JSON's `null`.
    case null
    /// `True` or `False`.
    case bool(Bool)
    /// A whole number.
    case int(Int)
    /// A number with a fraction or an exponent.
    case double(Double)
    /// Text.
    case string(String)
    /// A list.
    case array([TemplateValue])
    /// Keys in order. Of equal keys the last value counts, at the place of the first.
    case object([(key: String, value: TemplateValue)])

    /// Whether both render alike: strings by code points, objects with the order of keys.
    public static func == (a: TemplateValue, b: TemplateValue) -> Bool {
        switch (a, b) {
        case (.null, .null): true
        case (.bool(let a), .bool(let b)): a == b
        case (.int(let a), .int(let b)): a == b
        case (.double(let a), .double(let b)): a == b
        case (.string(let a), .string(let b)): TemplateText.isSame(a, b)
        case (.array(let a), .array(let b)): a == b
        case (.object(let a), .object(let b)):
            a.count == b.count && zip(a, b).allSatisfy { TemplateText.isSame($0.key, $1.key) && $0.value == $1.value }
        default: false
        }
    }
}
