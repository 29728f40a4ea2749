// STUB: replaced by the real decoder; its public face is final.

/// Turns a growing sequence of token ids into text that never ends in half a character.
public struct IncrementalDecoder: Sendable {
    public init(_ tokenizer: Tokenizer, skipSpecialTokens: Bool = true) {}
    /// The text released by `id`; may be empty.
    public mutating func append(_ id: Int32) -> String { "" }
    /// The rest, incomplete characters as U+FFFD.
    public mutating func finish() -> String { "" }
}
