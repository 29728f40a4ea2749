// STUB: replaced by the real template engine; its public face is final.

/// A chat template: the Jinja source that a model ships in `tokenizer_config.json`.
public struct ChatTemplate: Sendable {
    /// Parses `source`.
    ///
    /// - Throws: `ChatTemplateError` when `source` has a syntax error or uses what is not supported.
    public init(_ source: String) throws(ChatTemplateError) {}
    /// Renders the template.
    ///
    /// - Parameter variables: `messages`, `tools`, `add_generation_prompt`, `bos_token`, `eos_token`, …
    public func render(_ variables: [String: TemplateValue]) throws(ChatTemplateError) -> String { "" }
}

/// A value in a chat template.
public indirect enum TemplateValue: Sendable, Equatable {
    case null
    case bool(Bool)
    case int(Int)
    case double(Double)
    case string(String)
    case array([TemplateValue])
    /// Keys in order.
    case object([(key: String, value: TemplateValue)])

    public static func == (a: TemplateValue, b: TemplateValue) -> Bool { false }
}

/// A template that cannot be parsed or rendered; `raise_exception(message)` gives `message`.
public struct ChatTemplateError: Error, Equatable, CustomStringConvertible {
    public var description: String
    public init(_ description: String) { self.description = description }
}
