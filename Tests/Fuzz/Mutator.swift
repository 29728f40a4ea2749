// Mutator: changes well-formed bytes a little, or a lot.

import Support

/// Changes bytes at random; what it does depends on its seed alone.
struct Mutator {
    private var random: SeededGenerator
    private let words: [[UInt8]]

    /// Longest input that is made.
    private static let longest = 1 << 16
    /// Numbers at the edges of their kinds.
    private static let edges: [UInt64] = [
        0, 1, 2, 7, 8, 127, 128, 255, 256, 65535, 65536, 1 << 24, 1 << 31 - 1, 1 << 31, 1 << 32 - 1, 1 << 32,
        1 << 40, 1 << 62, 1 << 63 - 1, 1 << 63, .max, .max - 7,
    ]
    private static let numbers = [
        "0", "-1", "1", "0.5", "-0", "1e5", "1e308", "1e999", "-1e-999", "2147483648", "4294967296",
        "9223372036854775807",
        "9223372036854775808", "-9223372036854775808", "99999999999999999999", "null", "true", "\"\"", "[]", "{}",
    ].map { Array($0.utf8) }

    /// A mutator that knows `words`.
    init(seed: UInt64, words: [[UInt8]]) {
        random = SeededGenerator(seed: seed)
        self.words = words
    }

    /// A changed copy of one of `seeds`, and which it was; now and then unchanged.
    mutating func mutant(of seeds: [[UInt8]]) -> (bytes: [UInt8], origin: Int) {
        let origin = below(seeds.count)
        var bytes = seeds[origin]
        for _ in 0..<[0, 1, 1, 1, 2, 3, 5, 12][below(8)] {
            change(&bytes, seeds)
            if bytes.count > Self.longest { bytes.removeLast(bytes.count - Self.longest) }
        }
        return (bytes, origin)
    }

    private mutating func change(_ bytes: inout [UInt8], _ seeds: [[UInt8]]) {
        guard !bytes.isEmpty else {
            bytes = word()
            return
        }
        let place = below(bytes.count)
        switch below(12) {
        case 0: bytes[place] ^= 1 << UInt8(below(8))
        case 1: bytes[place] = UInt8(below(256))
        case 2: bytes.removeSubrange(place..<min(bytes.count, place + 1 + length()))
        case 3:
            let piece = bytes[place..<min(bytes.count, place + 1 + length())]
            bytes.insert(contentsOf: Array(piece), at: below(bytes.count + 1))
        case 4: bytes.insert(contentsOf: word(), at: place)
        case 5:
            let word = word()
            bytes.replaceSubrange(place..<min(bytes.count, place + word.count), with: word)
        case 6: replaceNumber(&bytes, at: place)
        case 7: replaceInteger(&bytes, at: place)
        case 8: bytes.removeLast(bytes.count - place)
        case 9:
            let other = seeds[below(seeds.count)]
            guard !other.isEmpty else { return }
            bytes.replaceSubrange(place..., with: other[below(other.count)...])
        case 10:
            let piece = Array(bytes[place..<min(bytes.count, place + 1 + below(8))])
            for _ in 0..<length() { bytes.insert(contentsOf: piece, at: place) }
        default: bytes.swapAt(place, below(bytes.count))
        }
    }

    /// Puts another value where a number is written in digits.
    private mutating func replaceNumber(_ bytes: inout [UInt8], at place: Int) {
        let digits = UInt8(ascii: "0")...UInt8(ascii: "9")
        guard let start = bytes[place...].firstIndex(where: { digits.contains($0) }) else { return }
        let end = bytes[start...].firstIndex { !digits.contains($0) } ?? bytes.count
        bytes.replaceSubrange(start..<end, with: Self.numbers[below(Self.numbers.count)])
    }

    /// Puts an edge where a little-endian integer of two, four or eight bytes may stand.
    private mutating func replaceInteger(_ bytes: inout [UInt8], at place: Int) {
        var value = Self.edges[below(Self.edges.count)]
        if below(4) == 0 { value = UInt64(bytes.count) &+ UInt64(below(17)) &- 8 }
        for index in place..<min(bytes.count, place + [2, 4, 8][below(3)]) {
            bytes[index] = UInt8(truncatingIfNeeded: value)
            value >>= 8
        }
    }

    /// Mostly short.
    private mutating func length() -> Int { [1, 2, 4, 8, 16, 64, 300, 1000][below(below(8) + 1)] }

    private mutating func word() -> [UInt8] { words.isEmpty ? [0] : words[below(words.count)] }

    private mutating func below(_ bound: Int) -> Int { Int.random(in: 0..<bound, using: &random) }
}
