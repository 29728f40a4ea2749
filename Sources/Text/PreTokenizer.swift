// PreTokenizer: cuts text into the pieces within which byte pairs may merge.
//
// The patterns of the field are regular expressions; each is recognised by its text and run as a hand-written scanner,
// some twenty times as fast as a regular expression engine. Tests hold every scanner against its pattern.

/// A way to cut text: steps that are applied one after another, each to the pieces of the step before.
struct PreTokenizer: Sendable, Equatable {
    var steps: [Step]

    /// One step: what matches is a piece, and so is what lies between two matches.
    enum Step: Sendable, Equatable {
        /// GPT-2's words: contractions, letters, numbers, others, each with a leading space.
        case gpt2
        /// Qwen2's and Llama 3's words; numbers in runs of at most `digits`.
        case words(digits: Int)
        /// DeepSeek-V3's words: as Qwen2's, with marks as letters and punctuation followed by ASCII letters as one.
        case deepSeekWords
        /// Single carriage returns and line feeds.
        case newlines
        /// `\s?\p{L}+`
        case letters
        /// A whitespace and a run of DeepSeek's punctuation.
        case punctuation
        /// `\s+$`
        case trailingWhitespace
        /// Runs of Chinese, Korean and what lies between Arabic and Chinese.
        case ideographs
        /// Runs of Chinese characters and Japanese kana.
        case chineseAndKana
        /// Numbers in runs of at most `count`.
        case digits(count: Int)
    }

    /// The pattern texts that are known.
    static let patterns: [String: Step] = [
        #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#:
            .words(digits: 1),
        #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#:
            .words(digits: 3),
        #"[\r\n]"#: .newlines,
        #"\s?\p{L}+"#: .letters,
        "\\s?[!-/:-~！-／：-～‘-‟\u{3000}-。]+": .punctuation,
        #"\s+$"#: .trailingWhitespace,
        "[一-龥ࠀ-一가-\u{D7FF}]+": .ideographs,
        "[一-龥぀-ゟ゠-ヿ]+": .chineseAndKana,
        #"\p{N}{1,3}"#: .digits(count: 3),
        ##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##:
            .deepSeekWords,
    ]

    /// Appends the ends of the pieces of `text` to `ends`.
    func cut(_ text: CodePoints, into ends: inout [Int]) {
        let start = ends.count
        ends.append(text.bytes.count)
        var next: [Int] = []
        for step in steps {
            next.removeAll(keepingCapacity: true)
            var from = 0
            for index in start..<ends.count {
                step.cut(text, from: from, to: ends[index], into: &next)
                from = ends[index]
            }
            ends.removeSubrange(start...)
            ends.append(contentsOf: next)
        }
    }
}

extension PreTokenizer.Step {
    /// Appends the ends of the pieces of `text[from..<to]`.
    fileprivate func cut(_ text: CodePoints, from: Int, to: Int, into ends: inout [Int]) {
        var scanner = Scanner(text: text, end: to)
        var position = from
        var unmatched = false
        while position < to {
            let end = scanner.match(self, at: position)
            if end > position {
                if unmatched { ends.append(position) }
                ends.append(end)
                unmatched = false
                position = end
            } else {
                unmatched = true
                position = text[position].end
            }
        }
        if unmatched { ends.append(to) }
    }
}

/// Matches the known patterns at a position.
private struct Scanner {
    let text: CodePoints
    let end: Int
    /// Where the whitespace run that holds `trailingFrom` ends, so that long runs are walked once.
    private var whitespaceEnd = -1

    init(text: CodePoints, end: Int) {
        self.text = text
        self.end = end
    }

    /// Where the match that begins at `start` ends; `start` if there is none.
    mutating func match(_ step: PreTokenizer.Step, at start: Int) -> Int {
        let first = text[start]
        switch step {
        case .words(let digits): return word(first, at: start, digits: digits)
        case .gpt2: return gpt2Word(first, at: start)
        case .deepSeekWords: return deepSeekWord(first, at: start)
        case .newlines: return first.isNewline ? first.end : start
        case .letters: return afterOptional(first, at: start, skips: \.isWhitespace, run: \.isLetter)
        case .punctuation: return afterOptional(first, at: start, skips: \.isWhitespace, run: \.isDeepSeekPunctuation)
        case .trailingWhitespace:
            guard first.isWhitespace, start >= whitespaceEnd else { return start }
            whitespaceEnd = run(from: start, \.isWhitespace)
            return whitespaceEnd == end ? end : start
        case .ideographs: return run(from: start, \.isDeepSeekIdeograph)
        case .chineseAndKana: return run(from: start, \.isChineseOrKana)
        case .digits(let count): return first.isNumber ? run(from: start, \.isNumber, atMost: count) : start
        }
    }

    /// The end of the longest run from `start` on.
    @inline(__always)
    private func run(
        from start: Int, _ belongs: (CodePoints.Point) -> Bool, atMost limit: Int = Int.max
    ) -> Int {
        var position = start
        var count = 0
        while position < end, count < limit {
            let point = text[position]
            guard belongs(point) else { break }
            position = point.end
            count &+= 1
        }
        return position
    }

    /// `skips? run+`
    @inline(__always)
    private func afterOptional(
        _ first: CodePoints.Point, at start: Int, skips: (CodePoints.Point) -> Bool,
        run belongs: (CodePoints.Point) -> Bool
    ) -> Int {
        if skips(first), first.end < end {
            let stop = run(from: first.end, belongs)
            if stop > first.end { return stop }
        }
        return run(from: start, belongs)
    }

    /// The alternatives of Qwen2's pattern, in order.
    private mutating func word(_ first: CodePoints.Point, at start: Int, digits: Int) -> Int {
        if first.isLetter { return run(from: first.end, \.isLetter) }
        if first.scalar == 0x27, let stop = contraction(after: first.end, foldsCase: true) { return stop }
        if first.isNumber { return run(from: start, \.isNumber, atMost: digits) }
        if !first.isNewline, first.end < end, text[first.end].isLetter { return run(from: first.end, \.isLetter) }
        if let stop = others(first, at: start, belongs: \.isOther) { return stop }
        return whitespace(at: start)
    }

    /// The alternatives of DeepSeek-V3's pattern, in order.
    private mutating func deepSeekWord(_ first: CodePoints.Point, at start: Int) -> Int {
        if first.isASCIIPunctuation, first.end < end, text[first.end].isASCIILetter {
            return run(from: first.end, \.isASCIILetter)
        }
        let mayLead = !first.isNewline && !first.isLetter && !first.isPunctuationOrSymbol
        if mayLead, first.end < end, text[first.end].isLetterOrMark { return run(from: first.end, \.isLetterOrMark) }
        if first.isLetterOrMark { return run(from: start, \.isLetterOrMark) }
        if let stop = others(first, at: start, belongs: \.isPunctuationOrSymbol) { return stop }
        return whitespace(at: start)
    }

    /// GPT-2's pattern: contractions; ` ?` and letters, numbers or others; whitespace.
    private mutating func gpt2Word(_ first: CodePoints.Point, at start: Int) -> Int {
        if first.scalar == 0x27, let stop = contraction(after: first.end, foldsCase: false) { return stop }
        let from = first.scalar == 0x20 && first.end < end ? first.end : start
        let next = text[from]
        if next.isLetter { return run(from: from, \.isLetter) }
        if next.isNumber { return run(from: from, \.isNumber) }
        if next.isOther { return run(from: from, \.isOther) }
        return spaces(at: start)
    }

    /// ` ?others+[\r\n]*`
    private func others(
        _ first: CodePoints.Point, at start: Int, belongs: (CodePoints.Point) -> Bool
    ) -> Int? {
        let from = first.scalar == 0x20 ? first.end : start
        let stop = run(from: from, belongs)
        return stop > from ? run(from: stop, \.isNewline) : nil
    }

    /// `\s*[\r\n]+|\s+(?!\S)|\s+`; `start` when no whitespace is there.
    private mutating func whitespace(at start: Int) -> Int {
        var position = start
        var afterNewline = start
        var last = start
        while position < end {
            let point = text[position]
            guard point.isWhitespace else { break }
            if point.isNewline { afterNewline = point.end }
            last = position
            position = point.end
        }
        if afterNewline > start { return afterNewline }
        return position < end && last > start ? last : position
    }

    /// `\s+(?!\S)|\s+`
    private func spaces(at start: Int) -> Int {
        var position = start
        var last = start
        while position < end {
            let point = text[position]
            guard point.isWhitespace else { break }
            last = position
            position = point.end
        }
        return position < end && last > start ? last : position
    }

    /// `'s|'t|'re|'ve|'m|'ll|'d` behind the apostrophe.
    private func contraction(after start: Int, foldsCase: Bool) -> Int? {
        guard start < end else { return nil }
        let first = text[start]
        let one = foldsCase ? first.folded : first.scalar
        if [0x73, 0x74, 0x6D, 0x64].contains(one) { return first.end }  // s t m d
        guard first.end < end else { return nil }
        let second = text[first.end]
        switch (one, foldsCase ? second.folded : second.scalar) {
        case (0x72, 0x65), (0x76, 0x65), (0x6C, 0x6C): return second.end  // re ve ll
        default: return nil
        }
    }
}

extension CodePoints.Point {
    /// The lower-case letter that a case-insensitive pattern compares; the long s folds to s.
    fileprivate var folded: UInt32 {
        scalar >= 0x41 && scalar <= 0x5A ? scalar + 0x20 : scalar == 0x17F ? 0x73 : scalar
    }

    /// `[^\s\p{L}\p{N}]`
    fileprivate var isOther: Bool { !isWhitespace && !isLetter && !isNumber }
    fileprivate var isLetterOrMark: Bool { kind == .letter || kind == .mark }
    fileprivate var isPunctuationOrSymbol: Bool { kind == .punctuation || kind == .symbol }
    fileprivate var isASCIILetter: Bool { (scalar | 0x20) >= 0x61 && (scalar | 0x20) <= 0x7A }
    fileprivate var isASCIIPunctuation: Bool {
        scalar < 0x7F && scalar > 0x20 && !isASCIILetter && !(scalar >= 0x30 && scalar <= 0x39)
    }
    fileprivate var isDeepSeekPunctuation: Bool {
        switch scalar {
        case 0x21...0x2F, 0x3A...0x7E, 0xFF01...0xFF0F, 0xFF1A...0xFF5E, 0x2018...0x201F, 0x3000...0x3002: true
        default: false
        }
    }
    fileprivate var isDeepSeekIdeograph: Bool {
        (scalar >= 0x0800 && scalar <= 0x9FA5) || (scalar >= 0xAC00 && scalar <= 0xD7FF)
    }
    fileprivate var isChineseOrKana: Bool {
        (scalar >= 0x4E00 && scalar <= 0x9FA5) || (scalar >= 0x3040 && scalar <= 0x30FF)
    }
}
