// Metaspace: spaces as part of words, the way of SentencePiece (Kudo and Richardson, arXiv:1808.06226): a space is
// written ▁ (U+2581), and one stands before the text.

/// How spaces become part of words.
struct Metaspace: Sendable, Equatable {
    /// Where a ▁ is put before a stretch of text.
    enum Prefix: Sendable {
        case never
        /// Before every stretch, whatever it begins with.
        case always
        /// Before every stretch that does not begin with one.
        case alwaysOnce
        /// Before the text itself, unless it begins with one.
        case atStartOnce
    }

    var prefix: Prefix

    /// ▁ in UTF-8.
    static let mark: [UInt8] = [0xE2, 0x96, 0x81]

    /// `text` with its spaces written out; `isStart` when nothing comes before it.
    func marked(_ text: UnsafeBufferPointer<UInt8>, isStart: Bool) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(text.count + 2 * text.count { $0 == 0x20 } + Self.mark.count)
        let hasMark = text.first == 0x20 || text.starts(with: Self.mark)
        switch prefix {
        case .never: break
        case .always: result += Self.mark
        case .alwaysOnce: if !hasMark { result += Self.mark }
        case .atStartOnce: if isStart, !hasMark { result += Self.mark }
        }
        for byte in text {
            if byte == 0x20 { result += Self.mark } else { result.append(byte) }
        }
        return result
    }

    /// The bytes that the token `content` stands for: `<0x0A>` for a byte, ▁ for a space.
    static func bytes(of content: String) -> [UInt8] {
        if let byte = byte(of: content) { return [byte] }
        return Array(content.replacing("\u{2581}", with: " ").utf8)
    }

    /// The byte of a token such as `<0x0A>`.
    private static func byte(of content: String) -> UInt8? {
        guard content.utf8.count == 6, content.hasPrefix("<0x"), content.hasSuffix(">") else { return nil }
        return UInt8(content.dropFirst(3).dropLast(), radix: 16)
    }

    /// The name of the token for `byte`.
    static func name(of byte: UInt8) -> String {
        let digits = String(byte, radix: 16, uppercase: true)
        return digits.count == 1 ? "<0x0\(digits)>" : "<0x\(digits)>"
    }
}
