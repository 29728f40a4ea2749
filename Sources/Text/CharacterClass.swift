// CharacterClass: which general class a code point has, by table.

/// The classes that pre-tokenizers tell apart.
enum CharacterClass: UInt8 {
    case other, letter, mark, number, punctuation, symbol, whitespace

    /// The class of every code point: one byte each, filled once from the generated runs.
    static let table: ClassTable = ClassTable()
}

/// A class for each of the 1,114,112 code points.
final class ClassTable: Sendable {
    /// Raw values of `CharacterClass`.
    nonisolated(unsafe) let bytes: UnsafePointer<UInt8>

    fileprivate init() {
        let table = UnsafeMutablePointer<UInt8>.allocate(capacity: 0x110000)
        var position = 0
        var value = CharacterClass.other
        var length = 0
        func endRun() {
            let count = min(max(length, 1), 0x110000 - position)
            (table + position).initialize(repeating: value.rawValue, count: count)
            position += count
            length = 0
        }
        var isFirst = true
        UnicodeTables.classes.withUTF8Buffer { text in
            for byte in text {
                if byte >= 0x30, byte <= 0x39 {
                    length = length * 10 + Int(byte - 0x30)
                    continue
                }
                if !isFirst { endRun() }
                isFirst = false
                switch byte {
                case UInt8(ascii: "L"): value = .letter
                case UInt8(ascii: "M"): value = .mark
                case UInt8(ascii: "N"): value = .number
                case UInt8(ascii: "P"): value = .punctuation
                case UInt8(ascii: "S"): value = .symbol
                case UInt8(ascii: "W"): value = .whitespace
                default: value = .other
                }
            }
        }
        endRun()
        (table + position).initialize(repeating: CharacterClass.other.rawValue, count: 0x110000 - position)
        bytes = UnsafePointer(table)
    }
}

/// Valid UTF-8, read code point by code point.
struct CodePoints {
    /// The text.
    let bytes: UnsafeBufferPointer<UInt8>
    private let base: UnsafePointer<UInt8>
    private let classes: UnsafePointer<UInt8>

    /// A view of `bytes`, which must be valid UTF-8 and not empty.
    init?(_ bytes: UnsafeBufferPointer<UInt8>) {
        guard let base = bytes.baseAddress, !bytes.isEmpty else { return nil }
        self.bytes = bytes
        self.base = base
        classes = CharacterClass.table.bytes
    }

    /// One code point.
    struct Point {
        var scalar: UInt32
        var kind: CharacterClass
        /// Where the next one begins.
        var end: Int

        var isNewline: Bool { scalar == 0x0A || scalar == 0x0D }
        var isLetter: Bool { kind == .letter }
        var isNumber: Bool { kind == .number }
        var isWhitespace: Bool { kind == .whitespace }
    }

    /// The code point that begins at `index`.
    @inline(__always)
    subscript(index: Int) -> Point {
        let first = UInt32(base[index])
        var scalar = first
        var end = index &+ 1
        if first >= 0x80 {
            let count = first < 0xE0 ? 1 : first < 0xF0 ? 2 : 3
            scalar = first & (0x3F >> UInt32(count))
            for _ in 0..<count {
                scalar = scalar << 6 | UInt32(base[end]) & 0x3F
                end &+= 1
            }
        }
        // The table has an entry for every scalar; its values are this enumeration's.
        return Point(
            scalar: scalar, kind: unsafeBitCast(classes[Int(scalar)], to: CharacterClass.self), end: end)
    }
}
