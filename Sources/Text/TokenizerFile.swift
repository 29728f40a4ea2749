// TokenizerFile: a Hugging Face `tokenizer.json`, as far as BPE over bytes, or over characters with spaces marked, needs it.

#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

/// The sections of a `tokenizer.json`.
struct TokenizerFile: Decodable {
    var addedTokens: [AddedToken]?
    var normalizer: Part?
    var preTokenizer: Part?
    var postProcessor: Part?
    var decoder: Part?
    var model: Model

    enum CodingKeys: String, CodingKey {
        case normalizer, decoder, model
        case addedTokens = "added_tokens"
        case preTokenizer = "pre_tokenizer"
        case postProcessor = "post_processor"
    }

    struct AddedToken: Decodable {
        var id: Int32
        var content: String
        var special: Bool?
        var lstrip: Bool?
        var rstrip: Bool?
        var normalized: Bool?
        var singleWord: Bool?

        enum CodingKeys: String, CodingKey {
            case id, content, special, lstrip, rstrip, normalized
            case singleWord = "single_word"
        }
    }

    struct Model: Decodable {
        var type: String?
        var vocab: [String: Int32]
        var merges: [Merge]
        var ignoreMerges: Bool?
        var byteFallback: Bool?
        var continuingSubwordPrefix: String?
        var endOfWordSuffix: String?

        typealias Merge = (left: String, right: String)

        enum CodingKeys: String, CodingKey {
            case type, vocab, merges
            case ignoreMerges = "ignore_merges"
            case byteFallback = "byte_fallback"
            case continuingSubwordPrefix = "continuing_subword_prefix"
            case endOfWordSuffix = "end_of_word_suffix"
        }

        init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: CodingKeys.self)
            type = try container.decodeIfPresent(String.self, forKey: .type)
            vocab = try container.decode([String: Int32].self, forKey: .vocab)
            ignoreMerges = try container.decodeIfPresent(Bool.self, forKey: .ignoreMerges)
            byteFallback = try container.decodeIfPresent(Bool.self, forKey: .byteFallback)
            continuingSubwordPrefix = try container.decodeIfPresent(String.self, forKey: .continuingSubwordPrefix)
            endOfWordSuffix = try container.decodeIfPresent(String.self, forKey: .endOfWordSuffix)
            // Newer files write `["a", "b"]`, older ones `"a b"`.
            let pairs =
                try (try? container.decode([[String]].self, forKey: .merges))
                ?? container.decode([String].self, forKey: .merges).map {
                    $0.split(separator: " ", omittingEmptySubsequences: false).map(String.init)
                }
            merges = try pairs.map { pair in
                guard pair.count == 2 else {
                    throw DecodingError.dataCorruptedError(
                        forKey: .merges, in: container, debugDescription: "a merge of \(pair.count) parts")
                }
                return (pair[0], pair[1])
            }
        }
    }

    /// A normalizer, pre-tokenizer or post-processor: a type and its settings.
    struct Part: Decodable {
        var type: String
        var normalizers: [Part]?
        var pretokenizers: [Part]?
        var processors: [Part]?
        var decoders: [Part]?
        var pattern: Pattern?
        var behavior: String?
        var invert: Bool?
        var useRegex: Bool?
        var addPrefixSpace: Bool?
        var individualDigits: Bool?
        var prepend: String?
        var content: String?
        var replacement: String?
        var prependScheme: String?
        var split: Bool?
        var start: Int?
        var single: [Piece]?
        var specialTokens: [String: SpecialToken]?

        enum CodingKeys: String, CodingKey {
            case type, normalizers, pretokenizers, processors, decoders, pattern, behavior, invert, single
            case prepend, content, replacement, split, start
            case prependScheme = "prepend_scheme"
            case useRegex = "use_regex"
            case addPrefixSpace = "add_prefix_space"
            case individualDigits = "individual_digits"
            case specialTokens = "special_tokens"
        }

        struct Pattern: Decodable {
            var regex: String?
            var string: String?

            enum CodingKeys: String, CodingKey {
                case regex = "Regex"
                case string = "String"
            }
        }
        struct Piece: Decodable {
            var specialToken: Name?
            var sequence: Name?

            enum CodingKeys: String, CodingKey {
                case specialToken = "SpecialToken"
                case sequence = "Sequence"
            }
        }
        struct Name: Decodable { var id: String }
        struct SpecialToken: Decodable { var ids: [Int32] }
    }

    /// Reads the file.
    init(_ bytes: UnsafeRawBufferPointer) throws(TokenizerError) {
        do {
            self = try JSONDecoder().decode(TokenizerFile.self, from: Data(bytes))
        } catch DecodingError.keyNotFound(let key, let context) {
            throw TokenizerError("tokenizer.json: \(Self.path(context.codingPath + [key])) is missing")
        } catch DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context) {
            throw TokenizerError("tokenizer.json: \(Self.path(context.codingPath)): \(context.debugDescription)")
        } catch DecodingError.dataCorrupted(let context) {
            throw TokenizerError("tokenizer.json: \(Self.path(context.codingPath)): \(context.debugDescription)")
        } catch {
            throw TokenizerError("tokenizer.json: \(error)")
        }
    }

    private static func path(_ keys: [any CodingKey]) -> String {
        keys.isEmpty ? "the file" : keys.map { $0.intValue.map(String.init) ?? $0.stringValue }.joined(separator: ".")
    }

    /// Whether text is brought into normalization form C.
    func normalizes() throws(TokenizerError) -> Bool {
        var isNFC = false
        var pending = normalizer.map { [$0] } ?? []
        while let part = pending.popLast() {
            switch part.type {
            case "NFC": isNFC = true
            case "Sequence": pending += part.normalizers ?? []
            case "Prepend", "Replace": continue  // `makeMetaspace` looks at them
            default: throw TokenizerError("tokenizer.json: normalizer \(part.type) is not supported; NFC is")
            }
        }
        return isNFC
    }

    /// How spaces are marked; nil for byte-level files, which do not mark them.
    ///
    /// Older files say it with two normalizers, newer ones with a pre-tokenizer.
    func makeMetaspace() throws(TokenizerError) -> Metaspace? {
        if let part = preTokenizer, part.type == "Metaspace" {
            guard part.replacement ?? "\u{2581}" == "\u{2581}", part.split == false else {
                throw TokenizerError("tokenizer.json: Metaspace is supported with ▁ and without split only")
            }
            switch part.prependScheme ?? (part.addPrefixSpace == false ? "never" : "always") {
            case "never": return Metaspace(prefix: .never)
            case "first": return Metaspace(prefix: .atStartOnce)
            default: return Metaspace(prefix: .alwaysOnce)
            }
        }
        var result: Metaspace?
        for part in normalizer.map({ $0.type == "Sequence" ? $0.normalizers ?? [] : [$0] }) ?? [] {
            if part.type == "Prepend", part.prepend == "\u{2581}" {
                result = Metaspace(prefix: .always)
            } else if part.type == "Replace", part.pattern?.string == " ", part.content == "\u{2581}" {
                result = result ?? Metaspace(prefix: .never)
            } else if ["Prepend", "Replace"].contains(part.type) {
                throw TokenizerError("tokenizer.json: normalizer \(part.type) is supported for spaces and ▁ only")
            }
        }
        return result
    }

    /// Whether a space at the beginning of decoded text is dropped: the one that was put before it.
    var stripsFirstSpace: Bool {
        (decoder?.decoders ?? []).contains { $0.type == "Strip" && $0.content == " " && $0.start == 1 }
    }

    /// The pre-tokenizer's steps.
    func makePreTokenizer() throws(TokenizerError) -> PreTokenizer {
        // Marked spaces keep words apart: nothing else does.
        if model.byteFallback == true, preTokenizer.map({ $0.type == "Metaspace" }) ?? true {
            return PreTokenizer(steps: [])
        }
        guard let preTokenizer else {
            throw TokenizerError("tokenizer.json: pre_tokenizer is missing; ByteLevel is expected")
        }
        var steps: [PreTokenizer.Step] = []
        var isByteLevel = false
        for part in preTokenizer.type == "Sequence" ? preTokenizer.pretokenizers ?? [] : [preTokenizer] {
            switch part.type {
            case "ByteLevel":
                isByteLevel = true
                guard part.addPrefixSpace != true else {
                    throw TokenizerError("tokenizer.json: ByteLevel with add_prefix_space is not supported")
                }
                if part.useRegex ?? true { steps.append(.gpt2) }
            case "Digits": steps.append(.digits(count: part.individualDigits == true ? 1 : .max))
            case "Split":
                let pattern = part.pattern?.regex ?? part.pattern?.string ?? ""
                guard part.behavior ?? "Isolated" == "Isolated" || part.behavior == "Removed" && part.invert == true,
                    let step = PreTokenizer.patterns[pattern]
                else { throw TokenizerError("tokenizer.json: the split pattern \(pattern) is not known") }
                steps.append(step)
            default: throw TokenizerError("tokenizer.json: pre-tokenizer \(part.type) is not supported")
            }
        }
        guard isByteLevel else {
            throw TokenizerError("tokenizer.json: no ByteLevel pre-tokenizer: not byte-level BPE")
        }
        return PreTokenizer(steps: steps)
    }

    /// The ids that the post-processor puts before and after a text.
    func makeFrame() throws(TokenizerError) -> (before: [Int32], after: [Int32]) {
        var before: [Int32] = []
        var after: [Int32] = []
        guard let postProcessor else { return ([], []) }
        for part in postProcessor.type == "Sequence" ? postProcessor.processors ?? [] : [postProcessor] {
            switch part.type {
            case "ByteLevel": continue
            case "TemplateProcessing":
                var isBefore = true
                for piece in part.single ?? [] {
                    if piece.sequence != nil { isBefore = false }
                    guard let name = piece.specialToken?.id else { continue }
                    guard let ids = part.specialTokens?[name]?.ids else {
                        throw TokenizerError("tokenizer.json: the template's special token \(name) has no ids")
                    }
                    if isBefore { before += ids } else { after += ids }
                }
            default: throw TokenizerError("tokenizer.json: post-processor \(part.type) is not supported")
            }
        }
        return (before, after)
    }
}
