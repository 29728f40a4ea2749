import Support
import Testing

@testable import Server

@Suite struct StopTextWatcherTests {
    private func run(_ pieces: [String], stops: [String], keepsMatch: Bool = false) -> (String, String?) {
        var watcher = StopTextWatcher(stops, keepsMatch: keepsMatch)
        var text = ""
        for piece in pieces {
            let decision = watcher.append(piece)
            text += decision.released
            if let matched = decision.matched { return (text, matched) }
        }
        return (text + watcher.finish(), nil)
    }

    @Test("text that may begin a stop text is held back until it is decided")
    func holding() {
        var watcher = StopTextWatcher(["</s>"], keepsMatch: false)
        #expect(watcher.append("a<") == .init(released: "a"))
        #expect(watcher.append("/") == .init(released: ""))
        #expect(watcher.append("b<") == .init(released: "</b"))
        #expect(watcher.append("/s>tail") == .init(released: "", matched: "</s>"))
    }

    @Test("text that is held back at the end is released")
    func finishing() {
        #expect(run(["one END", " tw"], stops: [" two"]) == ("one END tw", nil))
    }

    @Test("a found stop text is kept when asked for")
    func keeping() {
        #expect(run(["one ", "two three"], stops: ["two"], keepsMatch: true) == ("one two", "two"))
    }

    @Test("the stop text that is complete first wins, of those the longest")
    func competing() {
        #expect(run(["xabcd"], stops: ["abcd", "bc"]) == ("xa", "bc"))
        #expect(run(["xabc"], stops: ["c", "abc", "bc"]) == ("x", "abc"))
        #expect(run(["aab"], stops: ["ab"]) == ("a", "ab"))
        #expect(run(["é→ü"], stops: ["→"]) == ("é", "→"))
    }

    @Test("how the text is cut does not matter")
    func cutting() {
        for seed in 0..<200 { cutting(seed: UInt64(seed)) }
    }

    private func cutting(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let letters = ["a", "b", "ä", "\r", "\n"]
        func word(_ count: Int) -> String {
            (0..<count).map { _ in letters.randomElement(using: &random) ?? "" }.joined()
        }
        let text = word(30)
        let stops = (0..<3).map { _ in word(Int.random(in: 2...4, using: &random)) }
        let whole = run([text], stops: stops)
        let pieces = run(text.unicodeScalars.map(String.init), stops: stops)
        #expect(whole == pieces, "seed \(seed)")
        if let matched = whole.1 {
            #expect(text.utf8.starts(with: (whole.0 + matched).utf8))
        } else {
            #expect(Array(whole.0.utf8) == Array(text.utf8))
        }
    }
}
