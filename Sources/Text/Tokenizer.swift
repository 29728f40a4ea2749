// STUB: replaced by the real tokenizer; its public face is final.

/// Turns text into token ids and back, as a Hugging Face `tokenizer.json` says.
public final class Tokenizer: Sendable {
    /// Reads a `tokenizer.json`.
    ///
    /// - Throws: `TokenizerError`, naming the part of the file that is wrong or unknown.
    public init(tokenizerJSON: UnsafeRawBufferPointer) throws(TokenizerError) {}
    /// Number of token ids; ids are `0..<vocabularySize`.
    public var vocabularySize: Int { 0 }
    /// The id of the token or added token whose content is `content`.
    public func id(of content: String) -> Int32? { nil }
    /// Token ids of `text`; added tokens inside `text` are recognised.
    ///
    /// - Parameter addSpecialTokens: whether the file's post-processor adds its tokens (begin of sequence, …).
    public func encode(_ text: String, addSpecialTokens: Bool = false) -> [Int32] { [] }
    /// The text of `ids`; bytes that are no character become U+FFFD, ids outside the vocabulary nothing.
    public func decode(_ ids: some Sequence<Int32>, skipSpecialTokens: Bool = false) -> String { "" }
}

/// A `tokenizer.json` that cannot be used.
public struct TokenizerError: Error, Equatable, CustomStringConvertible {
    public var description: String
    public init(_ description: String) { self.description = description }
}
