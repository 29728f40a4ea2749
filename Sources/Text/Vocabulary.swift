// Vocabulary: every token's bytes, by id.
//
// Byte-level files write each byte as a printable character (OpenAI's GPT-2 table): those that are printable as
// themselves, the others from U+0100 on. Files with byte fallback write characters as they are, ▁ for a space, and have a
// token such as <0x0A> for each byte of those that have none.

/// Tokens by id and by content.
struct Vocabulary: Sendable {
    private let ids: [String: Int32]
    private let starts: [Int32]
    private let storage: [UInt8]
    private let special: [Bool]

    /// Ids above this would waste memory on holes.
    private static let largestID = 1 << 24

    /// The tokens of a file, added ones included.
    init(_ file: TokenizerFile) throws(TokenizerError) {
        if let type = file.model.type, type != "BPE" {
            throw TokenizerError("tokenizer.json: model type \(type) is not supported; BPE is")
        }
        var contents: [Int32: (text: String, isSpecial: Bool)] = [:]
        var ids = file.model.vocab
        for (content, id) in file.model.vocab {
            guard id >= 0, id < Self.largestID else {
                throw TokenizerError(
                    "tokenizer.json: token \"\(content)\" has id \(id): expected 0 to \(Self.largestID - 1)")
            }
            if let other = contents.updateValue((content, false), forKey: id) {
                throw TokenizerError("tokenizer.json: tokens \"\(other.text)\" and \"\(content)\" share id \(id)")
            }
        }
        for token in file.addedTokens ?? [] {
            guard token.id >= 0, token.id < Self.largestID, !token.content.isEmpty else {
                throw TokenizerError(
                    "tokenizer.json: added token \"\(token.content)\" has id \(token.id): expected a name, and 0 to "
                        + "\(Self.largestID - 1)")
            }
            contents[token.id] = (token.content, token.special ?? false)
            ids[token.content] = token.id
        }
        guard let largest = contents.keys.max() else { throw TokenizerError("tokenizer.json: the vocabulary is empty") }
        var starts: [Int32] = []
        var storage: [UInt8] = []
        var special: [Bool] = []
        starts.reserveCapacity(Int(largest) + 2)
        for id in 0...largest {
            starts.append(Int32(storage.count))
            let content = contents[id]
            special.append(content?.isSpecial ?? false)
            if let text = content?.text {
                storage +=
                    file.model.byteFallback == true
                    ? Metaspace.bytes(of: text) : Self.bytes(of: text) ?? Array(text.utf8)
            }
            guard storage.count < Int(Int32.max) else { throw TokenizerError("tokenizer.json: the tokens exceed 2 GB") }
        }
        starts.append(Int32(storage.count))
        self.ids = ids
        self.starts = starts
        self.storage = storage
        self.special = special
    }

    /// Ids are below this.
    var count: Int { special.count }

    /// The id of `content`, as the file writes it.
    func id(of content: String) -> Int32? { ids[content] }

    /// Whether `id` is a special token.
    func isSpecial(_ id: Int32) -> Bool { id >= 0 && Int(id) < special.count && special[Int(id)] }

    /// The bytes of token `id`; none outside the vocabulary.
    func bytes(of id: Int32) -> ArraySlice<UInt8> {
        guard id >= 0, Int(id) < special.count else { return [] }
        return storage[Int(starts[Int(id)])..<Int(starts[Int(id) + 1])]
    }

    /// The merges of `model` in ids.
    func makeBPE(_ model: TokenizerFile.Model) throws(TokenizerError) -> BytePairEncoding {
        if model.ignoreMerges == true { throw TokenizerError("tokenizer.json: ignore_merges is not supported") }
        if !(model.continuingSubwordPrefix ?? "").isEmpty || !(model.endOfWordSuffix ?? "").isEmpty {
            throw TokenizerError("tokenizer.json: subword prefixes and suffixes are not supported")
        }
        var byteIDs: [Int32] = []
        for byte in UInt8.min...UInt8.max {
            let name =
                model.byteFallback == true ? Metaspace.name(of: byte) : String(Character(Self.character(of: byte)))
            guard let id = ids[name] else {
                throw TokenizerError("tokenizer.json: byte \(byte) has no token: not a byte-level vocabulary")
            }
            byteIDs.append(id)
        }
        var characters: [UInt32: Int32] = [:]
        if model.byteFallback == true {
            for (content, id) in model.vocab {
                let scalars = content.unicodeScalars
                if let scalar = scalars.first, scalars.count == 1 { characters[scalar.value] = id }
            }
        }
        var merges: [(left: Int32, right: Int32, result: Int32)] = []
        merges.reserveCapacity(model.merges.count)
        for (rank, merge) in model.merges.enumerated() {
            guard let left = ids[merge.left], let right = ids[merge.right], let result = ids[merge.left + merge.right]
            else {
                throw TokenizerError(
                    "tokenizer.json: merge \(rank), \"\(merge.left)\" and \"\(merge.right)\", names tokens that the "
                        + "vocabulary lacks")
            }
            merges.append((left, right, result))
        }
        return BytePairEncoding(byteIDs: byteIDs, characters: characters, merges: merges)
    }

    /// The character that stands for `byte`.
    private static func character(of byte: UInt8) -> Unicode.Scalar { characters[Int(byte)] }

    private static let characters: [Unicode.Scalar] = {
        var hidden: UInt32 = 0x100
        return (UInt8.min...UInt8.max).map { byte in
            switch byte {
            case 0x21...0x7E, 0xA1...0xAC, 0xAE...0xFF: return Unicode.Scalar(byte)
            default:
                defer { hidden += 1 }
                return Unicode.Scalar(hidden) ?? Unicode.Scalar(byte)
            }
        }
    }()

    private static let bytesOfCharacters = Dictionary(
        uniqueKeysWithValues: zip(characters, UInt8.min...UInt8.max))

    /// The bytes that `text` stands for; nil when a character stands for none, as in many added tokens.
    private static func bytes(of text: String) -> [UInt8]? {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.utf8.count)
        for scalar in text.unicodeScalars {
            guard let byte = bytesOfCharacters[scalar] else { return nil }
            bytes.append(byte)
        }
        return bytes
    }
}
