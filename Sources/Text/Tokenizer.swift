// Tokenizer: text to token ids and back, as a Hugging Face `tokenizer.json` says.
//
// The way of a text: added tokens are cut out; what lies between is normalised, cut into pieces by the pre-tokenizer,
// and each piece's bytes are merged. A piece that occurred before in the same text takes its tokens from there.

/// Turns text into token ids and back.
public final class Tokenizer: Sendable {
    /// Number of token ids; ids are `0..<vocabularySize`.
    public let vocabularySize: Int

    private let bpe: BytePairEncoding
    private let preTokenizer: PreTokenizer
    private let normalizes: Bool
    private let metaspace: Metaspace?
    private let stripsFirstSpace: Bool
    private let vocabulary: Vocabulary
    private let rawTokens: AddedTokens
    private let normalizedTokens: AddedTokens
    private let frame: (before: [Int32], after: [Int32])

    /// Reads a `tokenizer.json`.
    ///
    /// - Parameter tokenizerJSON: the file's bytes.
    /// - Throws: `TokenizerError`, naming the part of the file that is wrong or unknown.
    public init(tokenizerJSON: UnsafeRawBufferPointer) throws(TokenizerError) {
        let file = try TokenizerFile(tokenizerJSON)
        vocabulary = try Vocabulary(file)
        bpe = try vocabulary.makeBPE(file.model)
        vocabularySize = vocabulary.count
        preTokenizer = try file.makePreTokenizer()
        normalizes = try file.normalizes()
        metaspace = try file.makeMetaspace()
        stripsFirstSpace = file.stripsFirstSpace
        frame = try file.makeFrame()
        for id in frame.before + frame.after where id < 0 || Int(id) >= vocabularySize {
            throw TokenizerError("tokenizer.json: post_processor: id \(id) is not in the vocabulary")
        }
        let added = file.addedTokens ?? []
        rawTokens = AddedTokens(added.filter { !($0.normalized ?? !($0.special ?? false)) })
        let normalizes = normalizes
        normalizedTokens = AddedTokens(
            added.filter { $0.normalized ?? !($0.special ?? false) }.map { token in
                guard normalizes else { return token }
                var token = token
                token.content = String(decoding: Normalizer.composed(Array(token.content.utf8)), as: UTF8.self)
                return token
            })
    }

    /// The id of the token or added token whose content is `content`.
    public func id(of content: String) -> Int32? { vocabulary.id(of: content) }

    /// Token ids of `text`; added tokens inside `text` are recognised.
    ///
    /// - Parameters:
    ///   - text: any text.
    ///   - addSpecialTokens: whether the file's post-processor adds its tokens (begin of sequence, …).
    /// - Returns: ids in `0..<vocabularySize`.
    /// - Complexity: O(n log n) in the bytes of the longest piece; O(n) in the text, times the added tokens that begin
    ///   with the same byte.
    public func encode(_ text: String, addSpecialTokens: Bool = false) -> [Int32] {
        var output = addSpecialTokens ? frame.before : []
        output.reserveCapacity(text.utf8.count / 3 + 8)
        var text = text
        text.withUTF8 { bytes in
            var session = EncodingSession(bytes: bytes.count)
            rawTokens.split(bytes) { segment in
                switch segment {
                case .token(let id): output.append(id)
                case .text(let range):
                    let part = UnsafeBufferPointer(rebasing: bytes[range])
                    guard let changed = normalized(part, isStart: range.lowerBound == 0) else {
                        return encodeNormalized(part, &session, into: &output)
                    }
                    changed.withUnsafeBufferPointer { changed in
                        // The session remembers places in the text it was made for.
                        var session = EncodingSession(bytes: changed.count)
                        encodeNormalized(changed, &session, into: &output)
                    }
                }
            }
        }
        if addSpecialTokens { output += frame.after }
        return output
    }

    /// `text` composed, with its spaces marked; nil when it stays as it is.
    private func normalized(_ text: UnsafeBufferPointer<UInt8>, isStart: Bool) -> [UInt8]? {
        var composed: [UInt8]?
        if normalizes, text.contains(where: { $0 >= 0xCC }) { composed = Normalizer.composed(Array(text)) }
        guard let metaspace else { return composed }
        guard let composed else { return metaspace.marked(text, isStart: isStart) }
        return composed.withUnsafeBufferPointer { metaspace.marked($0, isStart: isStart) }
    }

    private func encodeNormalized(
        _ text: UnsafeBufferPointer<UInt8>, _ session: inout EncodingSession, into output: inout [Int32]
    ) {
        normalizedTokens.split(text) { segment in
            switch segment {
            case .token(let id): output.append(id)
            case .text(let range):
                guard let points = CodePoints(UnsafeBufferPointer(rebasing: text[range])) else { return }
                session.ends.removeAll(keepingCapacity: true)
                preTokenizer.cut(points, into: &session.ends)
                var start = 0
                for end in session.ends {
                    let piece = UnsafeBufferPointer(rebasing: points.bytes[start..<end])
                    start = end
                    guard !session.repeats(piece, into: &output) else { continue }
                    let first = output.count
                    bpe.encode(piece, scratch: &session.scratch, into: &output)
                    session.remember(piece, tokens: first..<output.count)
                }
            }
        }
    }

    /// The text of `ids`; bytes that are no character become U+FFFD, ids outside the vocabulary nothing.
    public func decode(_ ids: some Swift.Sequence<Int32>, skipSpecialTokens: Bool = false) -> String {
        var bytes: [UInt8] = []
        for id in ids { append(id, skipSpecialTokens: skipSpecialTokens, to: &bytes) }
        return String(decoding: stripsFirstSpace && bytes.first == 0x20 ? bytes.dropFirst() : bytes[...], as: UTF8.self)
    }

    /// Appends the bytes of one token.
    func append(_ id: Int32, skipSpecialTokens: Bool, to bytes: inout [UInt8]) {
        guard !(skipSpecialTokens && vocabulary.isSpecial(id)) else { return }
        bytes.append(contentsOf: vocabulary.bytes(of: id))
    }
}

/// A `tokenizer.json` that cannot be used.
public struct TokenizerError: Error, Equatable, CustomStringConvertible {
    /// What is wrong, and where.
    public var description: String

    /// An error that says `description`.
    public init(_ description: String) { self.description = description }
}

/// What one call of `encode` reuses from piece to piece.
private struct EncodingSession {
    var ends: [Int] = []
    var scratch = BytePairEncoding.Scratch()

    /// Where a piece was seen, and its tokens.
    private struct Entry {
        var start: UnsafePointer<UInt8>?
        var count: Int32 = 0
        var firstToken: Int32 = 0
        var tokenCount: Int32 = 0
    }

    private var entries: [Entry]
    private var slot = 0

    /// Longer pieces are rarely seen twice.
    private static let longest = 32

    init(bytes: Int) {
        var capacity = 16
        while capacity < min(bytes / 4, 8192) { capacity *= 2 }
        entries = [Entry](repeating: Entry(), count: capacity)
    }

    /// Appends the tokens of an earlier piece of the same bytes, if one is remembered.
    mutating func repeats(_ piece: UnsafeBufferPointer<UInt8>, into output: inout [Int32]) -> Bool {
        guard piece.count > 1, piece.count <= Self.longest else {
            slot = -1
            return false
        }
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in piece { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 }
        slot = Int(truncatingIfNeeded: hash ^ (hash >> 32)) & (entries.count - 1)
        let entry = entries[slot]
        guard let start = entry.start, Int(entry.count) == piece.count,
            piece.elementsEqual(UnsafeBufferPointer(start: start, count: piece.count))
        else { return false }
        for token in Int(entry.firstToken)..<Int(entry.firstToken + entry.tokenCount) { output.append(output[token]) }
        return true
    }

    /// Remembers the piece that `repeats` was asked for last.
    mutating func remember(_ piece: UnsafeBufferPointer<UInt8>, tokens: Range<Int>) {
        guard slot >= 0, tokens.upperBound <= Int(Int32.max) else { return }
        entries[slot] = Entry(
            start: piece.baseAddress, count: Int32(piece.count), firstToken: Int32(tokens.lowerBound),
            tokenCount: Int32(tokens.count))
    }
}
