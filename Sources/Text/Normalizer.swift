// Normalizer: canonical composition (NFC), after Unicode Standard Annex 15.
//
// Text below U+0300 is composed already, so most text is passed through after one look at its bytes.

/// Canonical composition.
enum Normalizer {
    /// `text` in normalization form C.
    static func composed(_ text: [UInt8]) -> [UInt8] {
        // Lead bytes below 0xCC begin code points below U+0300.
        guard text.contains(where: { $0 >= 0xCC }) else { return text }
        let tables = CompositionTables.shared
        var scalars: [UInt32] = []
        scalars.reserveCapacity(text.count)
        for scalar in String(decoding: text, as: UTF8.self).unicodeScalars {
            tables.decompose(scalar.value, into: &scalars)
        }
        tables.order(&scalars)
        var result: [UInt8] = []
        result.reserveCapacity(text.count)
        for value in tables.compose(scalars) {
            guard let scalar = Unicode.Scalar(value) else { continue }
            result.append(contentsOf: UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
        }
        return result
    }
}

/// Decompositions, combining classes and compositions, parsed from the generated text on first use.
private struct CompositionTables: Sendable {
    static let shared = CompositionTables()

    private var classes: [UInt32: UInt8] = [:]
    private var decompositions: [UInt32: (UInt32, UInt32)] = [:]  // second 0: a single code point
    private var compositions: [UInt64: UInt32] = [:]

    // Hangul syllables are computed: leads, vowels and tails that compose by arithmetic.
    private static let (syllables, leads, vowels, tails): (UInt32, UInt32, UInt32, UInt32) =
        (0xAC00, 0x1100, 0x1161, 0x11A7)
    private static let (leadCount, vowelCount, tailCount): (UInt32, UInt32, UInt32) = (19, 21, 28)

    private init() {
        for entry in Self.entries(UnicodeTables.combiningClasses) {
            let parts = entry.split(separator: ":")
            guard parts.count == 2, let scalar = UInt32(parts[0], radix: 16), let value = UInt8(parts[1]) else {
                continue
            }
            classes[scalar] = value
        }
        for entry in Self.entries(UnicodeTables.decompositions) {
            let parts = entry.split(whereSeparator: { ":=,".contains($0) }).compactMap { UInt32($0, radix: 16) }
            guard parts.count > 1 else { continue }
            decompositions[parts[0]] = (parts[1], parts.count > 2 ? parts[2] : 0)
            if entry.contains("="), parts.count > 2 { compositions[Self.key(parts[1], parts[2])] = parts[0] }
        }
    }

    private static func entries(_ text: StaticString) -> [Substring] { text.description.split(separator: " ") }

    private static func key(_ first: UInt32, _ second: UInt32) -> UInt64 { UInt64(first) << 32 | UInt64(second) }

    func decompose(_ scalar: UInt32, into result: inout [UInt32]) {
        let syllable = scalar &- Self.syllables
        if syllable < Self.leadCount * Self.vowelCount * Self.tailCount {
            result.append(Self.leads + syllable / (Self.vowelCount * Self.tailCount))
            result.append(Self.vowels + syllable / Self.tailCount % Self.vowelCount)
            if syllable % Self.tailCount > 0 { result.append(Self.tails + syllable % Self.tailCount) }
        } else if scalar >= 0xC0, let parts = decompositions[scalar] {
            decompose(parts.0, into: &result)
            if parts.1 > 0 { decompose(parts.1, into: &result) }
        } else {
            result.append(scalar)
        }
    }

    private func combiningClass(_ scalar: UInt32) -> UInt8 { scalar < 0x300 ? 0 : classes[scalar] ?? 0 }

    /// Sorts every run of combining marks by class, keeping the order of equals.
    func order(_ scalars: inout [UInt32]) {
        var start = 0
        while start < scalars.count {
            guard combiningClass(scalars[start]) > 0 else {
                start += 1
                continue
            }
            var end = start
            while end < scalars.count, combiningClass(scalars[end]) > 0 { end += 1 }
            let sorted = scalars[start..<end].enumerated().sorted {
                (combiningClass($0.element), $0.offset) < (combiningClass($1.element), $1.offset)
            }
            scalars.replaceSubrange(start..<end, with: sorted.map(\.element))
            start = end
        }
    }

    /// Composes every mark with its starter unless something between them blocks it.
    func compose(_ scalars: [UInt32]) -> [UInt32] {
        var result: [UInt32] = []
        result.reserveCapacity(scalars.count)
        var starter = -1
        var lastClass: UInt8 = 0
        for scalar in scalars {
            let own = combiningClass(scalar)
            let isAdjacent = starter == result.count - 1
            if starter >= 0, isAdjacent || lastClass < own, isAdjacent || lastClass > 0,
                let composite = pair(result[starter], scalar)
            {
                result[starter] = composite
                continue
            }
            if own == 0 { starter = result.count }
            lastClass = own
            result.append(scalar)
        }
        return result
    }

    private func pair(_ first: UInt32, _ second: UInt32) -> UInt32? {
        let lead = first &- Self.leads
        let vowel = second &- Self.vowels
        if lead < Self.leadCount, vowel < Self.vowelCount {
            return Self.syllables + (lead * Self.vowelCount + vowel) * Self.tailCount
        }
        let syllable = first &- Self.syllables
        let tail = second &- Self.tails
        if syllable < Self.leadCount * Self.vowelCount * Self.tailCount, syllable % Self.tailCount == 0, tail > 0,
            tail < Self.tailCount
        {
            return first + tail
        }
        return compositions[Self.key(first, second)]
    }
}
