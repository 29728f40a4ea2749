// AddedTokens: tokens that are recognised in the text itself, before anything else looks at it.
//
// The leftmost match wins, of those the longest. A token may swallow whitespace around it, or ask to stand alone.

/// Finds added tokens.
struct AddedTokens: Sendable {
    /// A stretch of text.
    enum Segment {
        /// Ordinary text; never empty.
        case text(Range<Int>)
        /// An added token.
        case token(Int32)
    }

    private struct Token: Sendable {
        var id: Int32
        var bytes: [UInt8]
        var stripsLeft: Bool
        var stripsRight: Bool
        var isSingleWord: Bool
    }

    /// By first byte, longest first.
    private let byFirst: [[Token]]
    private let isEmpty: Bool

    /// The tokens of `list`.
    init(_ list: [TokenizerFile.AddedToken]) {
        var byFirst = [[Token]](repeating: [], count: 256)
        for token in list where !token.content.isEmpty {
            let bytes = Array(token.content.utf8)
            byFirst[Int(bytes[0])].append(
                Token(
                    id: token.id, bytes: bytes, stripsLeft: token.lstrip ?? false, stripsRight: token.rstrip ?? false,
                    isSingleWord: token.singleWord ?? false))
        }
        for index in byFirst.indices { byFirst[index].sort { $0.bytes.count > $1.bytes.count } }
        self.byFirst = byFirst
        isEmpty = byFirst.allSatisfy(\.isEmpty)
    }

    /// Calls `body` with the segments of `text` in order.
    func split(_ text: UnsafeBufferPointer<UInt8>, _ body: (Segment) -> Void) {
        guard !text.isEmpty else { return }
        guard !isEmpty else { return body(.text(0..<text.count)) }
        let hasTokens = byFirst.map { !$0.isEmpty }
        var start = 0
        var position = 0
        hasTokens.withUnsafeBufferPointer { hasTokens in
            while position < text.count {
                guard hasTokens[Int(text[position])],
                    let token = byFirst[Int(text[position])].first(where: { matches($0, text, at: position) })
                else {
                    position += 1
                    continue
                }
                var from = position
                var to = position + token.bytes.count
                if token.stripsLeft {
                    while from > start, let space = whitespace(before: from, in: text) { from = space }
                }
                if token.stripsRight { while let space = whitespace(at: to, in: text) { to = space } }
                from = max(from, start)
                if from > start { body(.text(start..<from)) }
                body(.token(token.id))
                start = to
                position = to
            }
        }
        if start < text.count { body(.text(start..<text.count)) }
    }

    private func matches(_ token: Token, _ text: UnsafeBufferPointer<UInt8>, at position: Int) -> Bool {
        let end = position + token.bytes.count
        guard end <= text.count, text[position..<end].elementsEqual(token.bytes) else { return false }
        guard token.isSingleWord else { return true }
        return !isWord(before: position, in: text) && !isWord(at: end, in: text)
    }

    /// The code point that begins at `index`.
    private func point(at index: Int, in text: UnsafeBufferPointer<UInt8>) -> CodePoints.Point? {
        index < text.count ? CodePoints(text)?[index] : nil
    }

    /// Where the code point before `index` begins.
    private func start(before index: Int, in text: UnsafeBufferPointer<UInt8>) -> Int? {
        guard index > 0 else { return nil }
        var start = index - 1
        while start > 0, text[start] & 0xC0 == 0x80 { start -= 1 }
        return start
    }

    private func whitespace(at index: Int, in text: UnsafeBufferPointer<UInt8>) -> Int? {
        guard let point = point(at: index, in: text), point.isWhitespace else { return nil }
        return point.end
    }

    private func whitespace(before index: Int, in text: UnsafeBufferPointer<UInt8>) -> Int? {
        guard let start = start(before: index, in: text), whitespace(at: start, in: text) != nil else { return nil }
        return start
    }

    private func isWord(at index: Int, in text: UnsafeBufferPointer<UInt8>) -> Bool {
        guard let point = point(at: index, in: text) else { return false }
        return point.isLetter || point.isNumber || point.kind == .mark || point.scalar == 0x5F
    }

    private func isWord(before index: Int, in text: UnsafeBufferPointer<UInt8>) -> Bool {
        start(before: index, in: text).map { isWord(at: $0, in: text) } ?? false
    }
}
