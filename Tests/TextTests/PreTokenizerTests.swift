import Foundation
import Support
import Testing

@testable import Text

@Suite struct PreTokenizerTests {
    /// Where the pieces of `text` end when the pattern's matches, and what lies between them, are pieces.
    private func reference(_ pattern: String, _ text: String) throws -> [Int] {
        let expression = try NSRegularExpression(pattern: pattern)
        let units = text as NSString
        var ends: [Int] = []
        var last = 0
        func end(at unit: Int) {
            guard unit > last else { return }
            ends.append(units.substring(to: unit).utf8.count)
            last = unit
        }
        for match in expression.matches(in: text, range: NSRange(location: 0, length: units.length))
        where match.range.length > 0 {
            end(at: match.range.location)
            end(at: match.range.location + match.range.length)
        }
        end(at: units.length)
        return ends
    }

    private func pieces(_ step: PreTokenizer.Step, _ text: String) -> [Int] {
        Array(text.utf8).withUnsafeBufferPointer { bytes in
            guard let points = CodePoints(bytes) else { return [] }
            var ends: [Int] = []
            PreTokenizer(steps: [step]).cut(points, into: &ends)
            return ends
        }
    }

    @Test("each scanner cuts where its pattern does", arguments: PreTokenizer.patterns.keys.sorted())
    func scanners(pattern: String) throws {
        let step = try #require(PreTokenizer.patterns[pattern])
        // The reference engine folds neither the long s nor knows the newest letters; the texts avoid both.
        // `$` stands for the end of the text here, which that engine spells `\z`.
        let reference = step == .trailingWhitespace ? #"\s+\z"# : pattern
        var random = SeededGenerator(seed: 11)
        for _ in 0..<3000 {
            let text = randomText(&random, length: Int.random(in: 1...24, using: &random))
                .replacingOccurrences(of: "ſ", with: "f")
            #expect(pieces(step, text) == (try self.reference(reference, text)), "\(text.debugDescription)")
        }
    }

    @Test("GPT-2's scanner cuts where its pattern does") func gpt2() throws {
        let pattern = #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#
        var random = SeededGenerator(seed: 12)
        for _ in 0..<3000 {
            let text = randomText(&random, length: Int.random(in: 1...24, using: &random))
            #expect(pieces(.gpt2, text) == (try reference(pattern, text)), "\(text.debugDescription)")
        }
    }

    @Test("a case-insensitive contraction folds the long s, as the original engine does") func longS() {
        #expect(pieces(.words(digits: 1), "x'ſy") == [1, 4, 5])
    }

    @Test("runs of whitespace are walked once") func whitespace() {
        let text = String(repeating: " ", count: 200_000) + "x"
        #expect(pieces(.trailingWhitespace, text) == [200_001])
        #expect(pieces(.words(digits: 1), text) == [199_999, 200_001])
    }
}

@Suite struct NormalizerTests {
    private func composed(_ text: String) -> [UInt8] { Normalizer.composed(Array(text.utf8)) }

    @Test(
        "known compositions",
        arguments: [
            ("e\u{301}", "é"), ("A\u{30A}", "Å"), ("\u{212B}", "Å"), ("q\u{307}\u{323}", "q\u{323}\u{307}"),
            ("\u{1100}\u{1161}\u{11A8}", "각"), ("\u{AC00}\u{11A8}", "각"), ("\u{D558}\u{11AB}", "한"),
            ("\u{958}", "\u{915}\u{93C}"),
            ("a\u{315}\u{300}\u{5AE}\u{300}b", "\u{E0}\u{5AE}\u{300}\u{315}b"), ("\u{1E9B}\u{323}", "\u{1E9B}\u{323}"),
            ("\u{0CC6}\u{0CC2}\u{0CD5}", "\u{0CCB}"), ("s\u{323}\u{307}", "\u{1E69}"), ("plain", "plain"),
        ])
    func vectors(text: String, expected: String) { #expect(composed(text) == Array(expected.utf8)) }

    // A syllable without a tail before a tail is left out: Foundation leaves the two apart, the standard joins them.
    @Test("composing random marks agrees with Foundation and is idempotent") func random() {
        var random = SeededGenerator(seed: 5)
        let alphabet: [Unicode.Scalar] = [
            "a", "e", "o", "ü", "ǖ", "Å", "\u{301}", "\u{308}", "\u{323}", "\u{327}", "\u{304}", "\u{345}", "α", "ᾳ",
            "ᄒ",
            "ᅡ", "한", "क", "\u{93C}", "が", "か", "\u{3099}", "\u{1D157}", "\u{1D165}", "\u{F900}", "\u{2126}",
        ]
        for _ in 0..<3000 {
            var text = String.UnicodeScalarView()
            for _ in 0..<8 { text.append(alphabet[Int.random(in: 0..<alphabet.count, using: &random)]) }
            let result = composed(String(text))
            #expect(result == Array(String(text).precomposedStringWithCanonicalMapping.utf8))
            #expect(Normalizer.composed(result) == result)
        }
    }
}
