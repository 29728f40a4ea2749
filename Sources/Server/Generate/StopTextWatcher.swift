// StopTextWatcher: finds stop texts in a stream of text pieces.
//
// Invariant: what has been released can never become part of a stop text. Held back is the longest suffix that
//            begins one. The result does not depend on how the text is cut into pieces: bytes are looked at one by
//            one, the stop text that is complete first wins, and of those complete at the same byte the longest.
//
// Example, stop text "</s>": "a<" releases "a" and holds "<"; "b" releases "<b"; "</s>x" is a match, "x" is dropped.

/// Finds stop texts in a stream of text pieces.
struct StopTextWatcher {
    /// What has become of a piece.
    struct Decision: Equatable {
        /// Text that is certainly output.
        var released: String
        /// The stop text that was found; nothing after it counts.
        var matched: String?
    }

    private let stops: [(text: String, bytes: [UInt8])]
    private let keepsMatch: Bool
    private var held: [UInt8] = []

    /// A watcher for `stops`; empty texts are ignored.
    ///
    /// - Parameters:
    ///   - stops: what to look for.
    ///   - keepsMatch: whether a found stop text is released as well.
    init(_ stops: [String], keepsMatch: Bool) {
        self.stops = stops.filter { !$0.isEmpty }.map { ($0, Array($0.utf8)) }
            .sorted { $0.bytes.count > $1.bytes.count }
        self.keepsMatch = keepsMatch
    }

    /// Takes the next piece.
    mutating func append(_ piece: String) -> Decision {
        guard !stops.isEmpty else { return Decision(released: piece) }
        for byte in piece.utf8 {
            held.append(byte)
            guard let stop = stops.first(where: { held.ends(with: $0.bytes) }) else { continue }
            let kept = keepsMatch ? held.count : held.count - stop.bytes.count
            defer { held = [] }
            return Decision(released: String(decoding: held.prefix(kept), as: UTF8.self), matched: stop.text)
        }
        let free = held.count - heldCount
        defer { held.removeFirst(free) }
        return Decision(released: String(decoding: held.prefix(free), as: UTF8.self))
    }

    /// Releases the rest: no more text follows.
    mutating func finish() -> String {
        defer { held = [] }
        return String(decoding: held, as: UTF8.self)
    }

    /// Length of the longest suffix of `held` that begins a stop text.
    private var heldCount: Int {
        let longest = stops.first?.bytes.count ?? 0
        for count in stride(from: min(held.count, longest), to: 0, by: -1)
        where stops.contains(where: { $0.bytes.starts(with: held.suffix(count)) }) {
            return count
        }
        return 0
    }
}

extension [UInt8] {
    fileprivate func ends(with other: [UInt8]) -> Bool {
        count >= other.count && suffix(other.count).elementsEqual(other)
    }
}
