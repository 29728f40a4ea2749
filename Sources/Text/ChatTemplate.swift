// ChatTemplate: how a list of messages becomes the one string that a model was trained on.
//
// Models ship a Jinja source for this. It is parsed once, here, and evaluated per request. What is understood is the
// part of Jinja that chat templates use, with trim_blocks and lstrip_blocks on, as the field renders them.
//
// Goals in order of priority: the exact characters of the reference; no template, however hostile, ends or hangs the
// process (`TemplateBudget`); speed.
// Reading order: TemplateLexer, TemplateParser, TemplateSyntax, TemplateEvaluator.

/// A chat template: the Jinja source that a model ships in `tokenizer_config.json`.
public struct ChatTemplate: Sendable {
    private let program: TemplateProgram

    /// Parses `source`.
    ///
    /// - Throws: `ChatTemplateError` when `source` has a syntax error or uses what is not supported.
    public init(_ source: String) throws(ChatTemplateError) {
        program = try TemplateParser.program(of: TemplateLexer.tokens(of: source))
    }

    /// Renders the template.
    ///
    /// - Parameter variables: `messages`, `tools`, `add_generation_prompt`, `bos_token`, `eos_token`, …
    /// - Returns: the prompt as one string.
    /// - Throws: `ChatTemplateError`: the message of `raise_exception`, or the line and what went wrong there.
    public func render(_ variables: [String: TemplateValue]) throws(ChatTemplateError) -> String {
        try TemplateEvaluator.render(program, variables)
    }
}

/// A template that cannot be parsed or rendered; `raise_exception(message)` gives `message`.
public struct ChatTemplateError: Error, Equatable, CustomStringConvertible {
    /// What went wrong; except for `raise_exception`, it starts with the line in the template.
    public var description: String

    /// Makes an error that says `description`.
    public init(_ description: String) { self.description = description }
}
