// TemplateText: strings as Python sees them: sequences of code points, without canonical equivalence.
//
// Swift compares strings by grapheme; a template must not. Searching is linear in the worst case (Knuth, Morris and
// Pratt), since both text and pattern may come from a hostile template.

enum TemplateText {
    /// Whether `a` and `b` are the same code points.
    static func isSame(_ a: String, _ b: String) -> Bool {
        // Strings of equal bytes are equal, so most unequal pairs leave by the fast comparison.
        a.utf8.count == b.utf8.count && a == b && a.utf8.elementsEqual(b.utf8)
    }

    /// Whether `a` sorts before `b`; UTF-8 sorts as code points do.
    static func precedes(_ a: String, _ b: String) -> Bool { a.utf8.lexicographicallyPrecedes(b.utf8) }

    static func isDigit(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") }

    static func hexDigit(_ byte: UInt8) -> UInt32? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(byte - UInt8(ascii: "0"))
        case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt32(byte - UInt8(ascii: "a") + 10)
        case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt32(byte - UInt8(ascii: "A") + 10)
        default: nil
        }
    }

    /// White space as Python's `str.isspace` has it.
    static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x09...0x0D, 0x1C...0x20, 0x85, 0xA0, 0x1680, 0x2000...0x200A, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000: true
        default: false
        }
    }

    /// Where Python's `str.splitlines` ends a line.
    static func isLineEnd(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x0A...0x0D, 0x1C...0x1E, 0x85, 0x2028, 0x2029: true
        default: false
        }
    }

    /// `text` without the leading and trailing code points in `characters`, or without white space.
    static func stripped(_ text: String, _ characters: String? = nil, left: Bool = true, right: Bool = true) -> String {
        let scalars = text.unicodeScalars
        let set = characters.map { Set($0.unicodeScalars) }
        func isStripped(_ scalar: Unicode.Scalar) -> Bool { set?.contains(scalar) ?? isSpace(scalar) }
        var start = scalars.startIndex
        var end = scalars.endIndex
        if left { while start < end, isStripped(scalars[start]) { scalars.formIndex(after: &start) } }
        while right, start < end {
            let last = scalars.index(before: end)
            guard isStripped(scalars[last]) else { break }
            end = last
        }
        return String(scalars[start..<end])
    }

    /// The byte offsets of `pattern` in `text`, from the left, not overlapping; `pattern` must not be empty.
    ///
    /// - Complexity: O(`text` + `pattern`).
    static func occurrences(of pattern: [UInt8], in text: [UInt8], limit: Int = .max) -> [Int] {
        guard pattern.count <= text.count, limit > 0 else { return [] }
        // borders[n]: length of the longest proper border of the first n + 1 bytes of the pattern.
        var borders = [Int](repeating: 0, count: pattern.count)
        var length = 0
        for place in pattern.indices.dropFirst() {
            while length > 0, pattern[length] != pattern[place] { length = borders[length - 1] }
            if pattern[length] == pattern[place] { length += 1 }
            borders[place] = length
        }
        var found: [Int] = []
        length = 0
        for place in text.indices {
            while length > 0, pattern[length] != text[place] { length = borders[length - 1] }
            if pattern[length] == text[place] { length += 1 }
            guard length == pattern.count else { continue }
            found.append(place + 1 - length)
            length = 0
            if found.count == limit { break }
        }
        return found
    }

    /// Whether `pattern` occurs in `text`.
    static func contains(_ text: String, _ pattern: String) -> Bool {
        pattern.isEmpty || !occurrences(of: Array(pattern.utf8), in: Array(text.utf8), limit: 1).isEmpty
    }

    /// `text` cut at each occurrence of `separator`, which must not be empty; at most `limit` cuts.
    static func split(_ text: String, at separator: String, limit: Int, fromRight: Bool = false) -> [String] {
        // From the right, reversed bytes find the same cuts that a search from the right end would.
        let bytes = fromRight ? Array(text.utf8.reversed()) : Array(text.utf8)
        let pattern = fromRight ? Array(separator.utf8.reversed()) : Array(separator.utf8)
        var pieces: [String] = []
        var start = 0
        func piece(_ range: Range<Int>) -> String {
            fromRight ? String(decoding: bytes[range].reversed(), as: UTF8.self) : decoded(bytes[range])
        }
        for place in occurrences(of: pattern, in: bytes, limit: limit) {
            pieces.append(piece(start..<place))
            start = place + pattern.count
        }
        pieces.append(piece(start..<bytes.count))
        return fromRight ? pieces.reversed() : pieces
    }

    /// `text` cut at runs of white space, as `str.split()` does; at most `limit` cuts.
    static func words(_ text: String, limit: Int, fromRight: Bool = false) -> [String] {
        if fromRight, limit != .max {
            return words(reversed(text), limit: limit).reversed().map(reversed)
        }
        var pieces: [String] = []
        var rest = text.unicodeScalars.drop(while: isSpace)
        while let first = rest.firstIndex(where: { !isSpace($0) }) {
            guard pieces.count < limit else {
                return pieces + [String(rest[first...])]
            }
            let end = rest[first...].firstIndex(where: isSpace) ?? rest.endIndex
            pieces.append(String(rest[first..<end]))
            rest = rest[end...].drop(while: isSpace)
        }
        return pieces
    }

    /// The lines of `text` without their ends, as `str.splitlines()` gives them.
    static func lines(_ text: String) -> [String] {
        let scalars = text.unicodeScalars
        var lines: [String] = []
        var start = scalars.startIndex
        while start < scalars.endIndex {
            guard let end = scalars[start...].firstIndex(where: isLineEnd) else {
                lines.append(String(scalars[start...]))
                break
            }
            lines.append(String(scalars[start..<end]))
            start = scalars.index(after: end)
            if scalars[end] == "\r", start < scalars.endIndex, scalars[start] == "\n" {
                start = scalars.index(after: start)
            }
        }
        return lines
    }

    /// The code points of `text`, last first.
    static func reversed(_ text: String) -> String {
        var result = String.UnicodeScalarView()
        result.append(contentsOf: text.unicodeScalars.reversed())
        return String(result)
    }

    /// `first letter upper, the rest lower`, as `str.capitalize` does.
    static func capitalized(_ text: String) -> String {
        guard let first = text.unicodeScalars.first else { return "" }
        return first.properties.titlecaseMapping + String(text.unicodeScalars.dropFirst()).lowercased()
    }

    /// Each run of letters capitalized, as `str.title` does.
    static func titled(_ text: String) -> String {
        var result = ""
        var isInWord = false
        for scalar in text.unicodeScalars {
            let properties = scalar.properties
            result += isInWord ? properties.lowercaseMapping : properties.titlecaseMapping
            isInWord = properties.isCased
        }
        return result
    }

    static func decoded(_ bytes: some Collection<UInt8>) -> String { String(decoding: bytes, as: UTF8.self) }
}
