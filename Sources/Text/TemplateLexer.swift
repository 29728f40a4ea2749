// TemplateLexer: a Jinja source cut into text and the tokens inside its tags.
//
// White space is settled here, so that nothing later knows of it:
//   `-` beside a tag removes all white space on that side, `+` keeps it;
//   trim_blocks: the newline right after `%}` or `#}` goes;
//   lstrip_blocks: blanks between the start of a line and `{%` or `{#` go, when nothing else is between them;
//   one newline at the very end of the source goes, and \r\n and \r are \n.

struct TemplateLexer {
    let bytes: [UInt8]
    var position = 0
    var line = 1
    private var tokens: [TemplateToken] = []
    /// Whether the text at `position` is at the start of a line.
    private var startsLine = true

    private init(_ source: String) {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(source.utf8.count)
        var follows = false
        for byte in source.utf8 {
            if byte == UInt8(ascii: "\r") {
                bytes.append(UInt8(ascii: "\n"))
            } else if byte != UInt8(ascii: "\n") || !follows {
                bytes.append(byte)
            }
            follows = byte == UInt8(ascii: "\r")
        }
        if bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
        self.bytes = bytes
    }

    /// The tokens of `source`, the last of them `end`.
    static func tokens(of source: String) throws(ChatTemplateError) -> [TemplateToken] {
        var lexer = TemplateLexer(source)
        while lexer.position < lexer.bytes.count { try lexer.textAndTag() }
        lexer.add(.end)
        return lexer.tokens
    }

    func failure(_ message: String) -> ChatTemplateError { ChatTemplateError("line \(line): \(message)") }

    private mutating func add(_ kind: TemplateToken.Kind) { tokens.append(TemplateToken(kind: kind, line: line)) }

    /// Whether `text` lies at `place`.
    func matches(_ text: StaticString, at place: Int) -> Bool {
        guard bytes.count - place >= text.utf8CodeUnitCount else { return false }
        for offset in 0..<text.utf8CodeUnitCount where text.utf8Start[offset] != bytes[place + offset] { return false }
        return true
    }

    /// Moves to `place` and counts the lines on the way.
    private mutating func advance(to place: Int) {
        for byte in bytes[position..<place] where byte == UInt8(ascii: "\n") { line += 1 }
        position = place
    }

    /// The end of the white space that starts at `place`.
    private func spaceEnd(from place: Int) -> Int {
        var place = place
        while place < bytes.count {
            let width = bytes[place] < 0x80 ? 1 : bytes[place] < 0xE0 ? 2 : bytes[place] < 0xF0 ? 3 : 4
            let scalar = TemplateText.decoded(bytes[place..<min(place + width, bytes.count)]).unicodeScalars
            guard let first = scalar.first, TemplateText.isSpace(first) else { break }
            place += width
        }
        return place
    }

    // MARK: Text and tags

    private mutating func textAndTag() throws(ChatTemplateError) {
        guard let open = nextTag(from: position) else {
            addText(upTo: bytes.count, strip: nil, isBlock: false)
            return
        }
        let sign = open + 2 < bytes.count ? bytes[open + 2] : 0
        let isSigned = sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+")
        let kind = bytes[open + 1]
        addText(upTo: open, strip: isSigned ? sign : nil, isBlock: kind != UInt8(ascii: "{"))
        let inside = open + (isSigned ? 3 : 2)
        switch kind {
        case UInt8(ascii: "#"): try comment(from: inside)
        case UInt8(ascii: "{"): try tag(from: inside, .outputBegin, .outputEnd, "}}", "-}}", nil)
        default:
            if let content = rawContent(from: inside) {
                try raw(from: content)
            } else {
                try tag(from: inside, .blockBegin, .blockEnd, "%}", "-%}", "+%}")
            }
        }
    }

    private func nextTag(from start: Int) -> Int? {
        var place = start
        while place + 1 < bytes.count {
            if bytes[place] == UInt8(ascii: "{") {
                let next = bytes[place + 1]
                if next == UInt8(ascii: "{") || next == UInt8(ascii: "%") || next == UInt8(ascii: "#") { return place }
            }
            place += 1
        }
        return nil
    }

    /// Adds the text before `end`, stripped as the tag that starts there asks.
    private mutating func addText(upTo end: Int, strip: UInt8?, isBlock: Bool) {
        var text = bytes[position..<end]
        if strip == UInt8(ascii: "-") {
            text = ArraySlice(TemplateText.stripped(TemplateText.decoded(text), left: false).utf8)
        } else if strip == nil, isBlock {
            let lineStart = text.lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 }
            let blanks = text[(lineStart ?? text.startIndex)...]
            if lineStart != nil || startsLine,
                TemplateText.decoded(blanks).unicodeScalars.allSatisfy(TemplateText.isSpace)
            {
                text = text[..<blanks.startIndex]
            }
        }
        if !text.isEmpty { add(.text(TemplateText.decoded(text))) }
        advance(to: end)
    }

    /// Goes on behind a tag's end at `place`, where white space is eaten as `trim` says.
    private mutating func closeTag(at place: Int, eatingSpace: Bool, trim: Bool) {
        var end = place
        if eatingSpace {
            end = spaceEnd(from: place)
        } else if trim, matches("\n", at: place) {
            end += 1
        }
        advance(to: end)
        startsLine = bytes[end - 1] == UInt8(ascii: "\n")
    }

    private mutating func comment(from start: Int) throws(ChatTemplateError) {
        var place = start
        while !matches("#}", at: place) {
            guard place < bytes.count else { throw failure("a comment is not closed with '#}'") }
            place += 1
        }
        let sign = place > start ? bytes[place - 1] : 0
        closeTag(at: place + 2, eatingSpace: sign == UInt8(ascii: "-"), trim: sign != UInt8(ascii: "+"))
    }

    private func keyword(_ word: StaticString, from start: Int) -> (end: Int, minus: Bool, plus: Bool)? {
        let place = spaceEnd(from: start)
        guard matches(word, at: place) else { return nil }
        let end = spaceEnd(from: place + word.utf8CodeUnitCount)
        if matches("-%}", at: end) { return (end + 3, true, false) }
        if matches("+%}", at: end) { return (end + 3, false, true) }
        return matches("%}", at: end) ? (end + 2, false, false) : nil
    }

    /// Where the content of a raw block starts, if `raw` stands at `start`.
    private func rawContent(from start: Int) -> (start: Int, minus: Bool)? {
        guard let close = keyword("raw", from: start), !close.plus else { return nil }
        return (close.end, close.minus)
    }

    private mutating func raw(from content: (start: Int, minus: Bool)) throws(ChatTemplateError) {
        closeTag(at: content.start, eatingSpace: content.minus, trim: false)
        var place = position
        while place < bytes.count {
            if matches("{%", at: place) {
                let sign = place + 2 < bytes.count ? bytes[place + 2] : 0
                let isSigned = sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+")
                if let close = keyword("endraw", from: place + (isSigned ? 3 : 2)) {
                    addText(upTo: place, strip: isSigned ? sign : nil, isBlock: true)
                    closeTag(at: close.end, eatingSpace: close.minus, trim: !close.plus)
                    return
                }
            }
            place += 1
        }
        throw failure("'{% raw %}' without '{% endraw %}'")
    }

    private mutating func tag(
        from start: Int, _ begin: TemplateToken.Kind, _ end: TemplateToken.Kind,
        _ close: StaticString, _ closeMinus: StaticString, _ closePlus: StaticString?
    ) throws(ChatTemplateError) {
        add(begin)
        advance(to: start)
        var open: [TemplateMark] = []
        while true {
            advance(to: spaceEnd(from: position))
            guard position < bytes.count else { throw failure("a tag is not closed with '\(close)'") }
            if open.isEmpty {
                let isMinus = matches(closeMinus, at: position)
                let isPlus = closePlus.map { matches($0, at: position) } ?? false
                if isMinus || isPlus || matches(close, at: position) {
                    add(end)
                    let width = isMinus || isPlus ? 3 : 2
                    closeTag(at: position + width, eatingSpace: isMinus, trim: end == .blockEnd && !isPlus)
                    return
                }
            }
            let kind = try token()
            if case .mark(let mark) = kind {
                if let closing = mark.closing {
                    open.append(closing)
                } else if mark == .rightParenthesis || mark == .rightBracket || mark == .rightBrace {
                    guard open.popLast() == mark else { throw failure("unexpected '\(mark.rawValue)'") }
                }
            }
            add(kind)
        }
    }
}
