import Foundation
import Support
import Testing

@testable import Text

/// The tokenizer of a reference file.
func tokenizer(_ path: String) throws -> Tokenizer {
    try Golden.data(path).withUnsafeBytes { try Tokenizer(tokenizerJSON: $0) }
}

/// The embedded model's tokenizer.
func demoTokenizer() throws -> Tokenizer {
    let url = Golden.folder.appending(path: "../../Sources/DemoModelFiles/model/tokenizer.json")
    return try Data(contentsOf: url).withUnsafeBytes { try Tokenizer(tokenizerJSON: $0) }
}

@Suite struct TokenizerTests {
    struct EncodeCase: Decodable {
        var text: String
        var ids: [Int32]
        var idsWithSpecial: [Int32]?
        var decoded: String
        var decodedSkipSpecial: String
    }

    struct StreamCase: Decodable {
        var ids: [Int32]
        var pieces: [String]
        var full: String
        var piecesSkip: [String]
        var fullSkip: String
    }

    struct ChatFile: Decodable {
        var cases: [ChatCase]
    }

    struct ChatCase: Decodable {
        var tokenizer: String
        var rendered: String?
        var ids: [Int32]?
    }

    /// Swift compares strings by canonical equivalence; a tokenizer must be exact to the byte.
    private func expectSame(_ found: String, _ expected: String, _ what: String) {
        #expect(Array(found.utf8) == Array(expected.utf8), "\(what)")
    }

    @Test(
        "every reference text has its ids, and decodes",
        arguments: ["bpe_qwen2", "bpe_deepseek", "bpe_mixtral", "bpe_metaspace"])
    func encode(name: String) throws {
        let tokenizer = try name == "bpe_metaspace" ? metaspaceTokenizer() : tokenizer("tokenizer/\(name).json")
        let cases = try Golden.decode([EncodeCase].self, "tokenizer/\(name).encode.json", snakeCase: true)
        #expect(cases.count == (name.hasPrefix("bpe_m") ? 150 : 300))
        for golden in cases {
            #expect(tokenizer.encode(golden.text) == golden.ids, "\(golden.text.debugDescription)")
            #expect(
                tokenizer.encode(golden.text, addSpecialTokens: true) == golden.idsWithSpecial ?? golden.ids,
                "\(golden.text.debugDescription)")
            expectSame(tokenizer.decode(golden.ids), golden.decoded, golden.text)
            expectSame(
                tokenizer.decode(golden.ids, skipSpecialTokens: true), golden.decodedSkipSpecial, golden.text)
        }
    }

    /// The tokenizer `bpe_mixtral`, its spaces marked by a pre-tokenizer instead of two normalizers.
    private func metaspaceTokenizer() throws -> Tokenizer {
        let data = try Golden.data("tokenizer/bpe_mixtral.json")
        var file = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
        file["normalizer"] = NSNull()
        file["pre_tokenizer"] = [
            "type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "first", "split": false,
        ]
        return try JSONSerialization.data(withJSONObject: file).withUnsafeBytes { try Tokenizer(tokenizerJSON: $0) }
    }

    @Test("marked spaces stream as spaces, the first one too") func streamMarked() throws {
        let tokenizer = try tokenizer("tokenizer/bpe_mixtral.json")
        for text in ["Hello world", "emoji 😀 x", " a  b\n"] {
            var decoder = IncrementalDecoder(tokenizer)
            let streamed = tokenizer.encode(text).map { decoder.append($0) }.joined() + decoder.finish()
            expectSame(streamed, " " + text, text)
        }
    }

    @Test("every reference sequence streams in its pieces", arguments: ["bpe_qwen2", "bpe_deepseek"])
    func stream(name: String) throws {
        let tokenizer = try tokenizer("tokenizer/\(name).json")
        let cases = try Golden.decode([StreamCase].self, "tokenizer/\(name).stream.json", snakeCase: true)
        #expect(cases.count > 100)
        for golden in cases {
            for (skips, pieces, full) in [
                (false, golden.pieces, golden.full), (true, golden.piecesSkip, golden.fullSkip),
            ] {
                var decoder = IncrementalDecoder(tokenizer, skipSpecialTokens: skips)
                var text = ""
                for (id, piece) in zip(golden.ids, pieces) {
                    let released = decoder.append(id)
                    expectSame(released, piece, "\(golden.ids)")
                    text += released
                }
                text += decoder.finish()
                expectSame(text, full, "\(golden.ids)")
            }
        }
    }

    @Test("every rendered chat has its ids") func chats() throws {
        var tokenizers: [String: Tokenizer] = [:]
        let cases = try Golden.decode(ChatFile.self, "tokenizer/chat_templates.json").cases
        for golden in cases {
            guard let rendered = golden.rendered, let ids = golden.ids else { continue }
            let tokenizer = try tokenizers[golden.tokenizer] ?? tokenizer("tokenizer/\(golden.tokenizer).json")
            tokenizers[golden.tokenizer] = tokenizer
            #expect(tokenizer.encode(rendered) == ids, "\(rendered.debugDescription)")
        }
        #expect(tokenizers.count == 2)
    }

    @Test("text survives encoding and decoding", arguments: 0..<8) func roundTrip(seed: UInt64) throws {
        let tokenizer = try demoTokenizer()
        var random = SeededGenerator(seed: seed)
        for _ in 0..<200 {
            let text = randomText(&random, length: Int.random(in: 0...80, using: &random))
            let ids = tokenizer.encode(text)
            #expect(ids.allSatisfy { $0 >= 0 && Int($0) < tokenizer.vocabularySize })
            expectSame(tokenizer.decode(ids), text, text.debugDescription)
            var decoder = IncrementalDecoder(tokenizer, skipSpecialTokens: false)
            expectSame(ids.map { decoder.append($0) }.joined() + decoder.finish(), text, text.debugDescription)
        }
    }

    @Test("a word of 100,000 letters is no harder than a text of that length") func longWord() throws {
        let tokenizer = try demoTokenizer()
        for word in [String(repeating: "a", count: 100_000), String(repeating: "ab", count: 50_000)] {
            #expect(tokenizer.decode(tokenizer.encode(word)) == word)
        }
    }

    @Test("ids outside the vocabulary decode to nothing") func foreignIDs() throws {
        let tokenizer = try demoTokenizer()
        #expect(tokenizer.decode([-1, 8192, Int32.max, Int32.min]) == "")
        #expect(tokenizer.id(of: "<|im_end|>") == 8191)
        #expect(tokenizer.id(of: "no such token") == nil)
        #expect(tokenizer.vocabularySize == 8192)
    }

    @Test("added tokens swallow spaces and stand alone where they ask to") func addedTokens() throws {
        func added(_ id: Int32, _ content: String, l: Bool = false, r: Bool = false, alone: Bool = false)
            throws -> TokenizerFile.AddedToken
        {
            let json = """
                {"id": \(id), "content": "\(content)", "lstrip": \(l), "rstrip": \(r), "single_word": \(alone)}
                """
            return try JSONDecoder().decode(TokenizerFile.AddedToken.self, from: Data(json.utf8))
        }
        let tokens = AddedTokens([
            try added(1, "<l>", l: true), try added(2, "<r>", r: true), try added(3, "word", alone: true),
            try added(4, "<l>x"),
        ])
        func segments(_ text: String) -> [String] {
            let bytes = Array(text.utf8)
            return bytes.withUnsafeBufferPointer { buffer in
                var found: [String] = []
                tokens.split(buffer) { segment in
                    switch segment {
                    case .text(let range): found.append(String(decoding: buffer[range], as: UTF8.self))
                    case .token(let id): found.append("#\(id)")
                    }
                }
                return found
            }
        }
        #expect(segments("a \u{2003}<l> b") == ["a", "#1", " b"])
        #expect(segments("a <r> \n b") == ["a ", "#2", "b"])
        #expect(segments("a <r> <l>b") == ["a ", "#2", "#1", "b"])
        #expect(segments("a word, swords words word") == ["a ", "#3", ", swords words ", "#3"])
        #expect(segments("<l>x<l>") == ["#4", "#1"])
        #expect(segments("") == [])
    }
}

/// Text of many scripts, with whitespace, digits, marks and symbols.
func randomText(_ random: inout SeededGenerator, length: Int) -> String {
    let alphabet: [Unicode.Scalar] = [
        "a", "b", "s", "t", "r", "e", "S", "Z", "l", "'", "'", "'", " ", " ", " ", " ", "\n", "\r", "\t", "\u{A0}",
        "\u{2003}", "\u{85}", "0", "7", "٣", "½", "Ⅷ", ".", ",", "-", "(", "!", "$", "€", "é", "ß", "ſ", "Ω", "я", "ﬁ",
        "\u{301}", "\u{327}", "中", "文", "々", "。", "～", "한", "글", "ᄀ", "ᅡ", "あ", "ア", "ก", "ำ", "अ", "ि", "👍",
        "\u{1F3FD}",
        "\u{200D}", "𝔘", "\u{E000}", "<", "|", ">", "_", "‘", "”", "\u{0}", "\u{7F}", "\u{FFFD}", "\u{10FFFF}",
    ]
    var text = String.UnicodeScalarView()
    for _ in 0..<length { text.append(alphabet[Int.random(in: 0..<alphabet.count, using: &random)]) }
    return String(text)
}
