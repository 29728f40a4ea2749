// IncrementalDecoder: streaming text that never ends in half a character.
//
// Bytes that may yet become a character are held back; bytes that cannot become U+FFFD, one for each maximal invalid
// subsequence (Unicode Standard, section 3.9). Text that ends in U+FFFD is held back too, as other engines do, because
// they cannot tell it from an unfinished character.

/// Turns a growing sequence of token ids into text that never ends in half a character.
public struct IncrementalDecoder: Sendable {
    private let tokenizer: Tokenizer
    private let skipSpecialTokens: Bool
    /// Bytes since the last release.
    private var pending: [UInt8] = []
    /// How much of `pending` is decided: whole characters, and bytes that cannot become any.
    private var decided = 0
    /// Whether the decided part ends in U+FFFD.
    private var endsInReplacement = false

    /// A decoder at the start of a text.
    public init(_ tokenizer: Tokenizer, skipSpecialTokens: Bool = true) {
        self.tokenizer = tokenizer
        self.skipSpecialTokens = skipSpecialTokens
    }

    /// The text released by `id`; may be empty.
    public mutating func append(_ id: Int32) -> String {
        tokenizer.append(id, skipSpecialTokens: skipSpecialTokens, to: &pending)
        decide()
        guard decided == pending.count, decided > 0, !endsInReplacement else { return "" }
        return release()
    }

    /// The rest, incomplete characters as U+FFFD.
    public mutating func finish() -> String { release() }

    private mutating func release() -> String {
        defer {
            pending.removeAll(keepingCapacity: true)
            decided = 0
            endsInReplacement = false
        }
        return String(decoding: pending, as: UTF8.self)
    }

    /// Moves `decided` to the last byte whose meaning no later byte can change.
    private mutating func decide() {
        while decided < pending.count {
            let first = pending[decided]
            guard first >= 0x80 else {
                decided += 1
                endsInReplacement = false
                continue
            }
            let length: Int
            var allowed: ClosedRange<UInt8> = 0x80...0xBF
            switch first {
            case 0xC2...0xDF: length = 2
            case 0xE0: (length, allowed) = (3, 0xA0...0xBF)
            case 0xED: (length, allowed) = (3, 0x80...0x9F)
            case 0xE1...0xEF: length = 3
            case 0xF0: (length, allowed) = (4, 0x90...0xBF)
            case 0xF4: (length, allowed) = (4, 0x80...0x8F)
            case 0xF1...0xF3: length = 4
            default: length = 1
            }
            var end = decided + 1
            while end < decided + length, end < pending.count, allowed.contains(pending[end]) {
                end += 1
                allowed = 0x80...0xBF
            }
            let isWhole = length > 1 && end == decided + length
            if !isWhole, length > 1, end == pending.count { return }  // may become a character yet
            endsInReplacement =
                !isWhole || (length == 3 && pending[decided..<end].elementsEqual([0xEF, 0xBF, 0xBD]))
            decided = end
        }
    }
}
