// BytePairEncoding: bytes or characters of one piece to token ids by merging pairs (Sennrich et al., arXiv:1508.07909).
//
// The pair of lowest rank is merged first, the leftmost of equals; as long as one is left. Short pieces look for it by a
// scan; long ones keep a heap over a linked list, so a word of n bytes takes O(n log n), however hostile.

/// Ranked merges over bytes, or over characters with bytes for those that have no token.
final class BytePairEncoding: Sendable {
    /// Token id of each single byte.
    private let byteIDs: [Int32]
    /// Token ids of characters; none when every symbol is a byte.
    private let characters: [UInt32: Int32]
    private let merges: MergeTable

    /// Merges in order of rank.
    init(
        byteIDs: [Int32], characters: [UInt32: Int32] = [:], merges: [(left: Int32, right: Int32, result: Int32)]
    ) {
        self.byteIDs = byteIDs
        self.characters = characters
        self.merges = MergeTable(merges)
    }

    /// Room for the merging of one piece after another.
    struct Scratch {
        fileprivate var ids: [Int32] = []
        fileprivate var ranks: [Int32] = []
        fileprivate var next: [Int32] = []
        fileprivate var previous: [Int32] = []
        fileprivate var heap: [UInt64] = []
    }

    /// Pieces up to this length are scanned.
    private static let shortPiece = 48

    /// Appends the tokens of `piece` to `output`.
    func encode(_ piece: UnsafeBufferPointer<UInt8>, scratch: inout Scratch, into output: inout [Int32]) {
        scratch.ids.removeAll(keepingCapacity: true)
        if characters.isEmpty {
            for byte in piece { scratch.ids.append(byteIDs[Int(byte)]) }
        } else {
            for scalar in String(decoding: piece, as: UTF8.self).unicodeScalars {
                if let id = characters[scalar.value] {
                    scratch.ids.append(id)
                } else {
                    for byte in UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter {
                        scratch.ids.append(byteIDs[Int(byte)])
                    }
                }
            }
        }
        guard scratch.ids.count > 1 else { return output.append(contentsOf: scratch.ids) }
        if scratch.ids.count <= Self.shortPiece {
            mergeByScan(&scratch)
        } else {
            mergeByHeap(&scratch)
        }
        output.append(contentsOf: scratch.ids)
    }

    private static let never = Int32.max

    private func mergeByScan(_ scratch: inout Scratch) {
        var count = scratch.ids.count
        scratch.ranks.removeAll(keepingCapacity: true)
        for index in 1..<count {
            scratch.ranks.append(merges[scratch.ids[index - 1], scratch.ids[index]]?.rank ?? Self.never)
        }
        scratch.ids.withUnsafeMutableBufferPointer { ids in
            scratch.ranks.withUnsafeMutableBufferPointer { ranks in
                while count > 1 {
                    var best = 0
                    for index in 1..<max(1, count - 1) where ranks[index] < ranks[best] { best = index }
                    guard ranks[best] != Self.never else { break }
                    ids[best] = merges.result(ofRank: ranks[best])
                    count -= 1
                    if best + 1 < count {
                        for index in best + 1..<count { ids[index] = ids[index + 1] }
                        for index in best..<count - 1 { ranks[index] = ranks[index + 1] }
                    }
                    if best > 0 { ranks[best - 1] = merges[ids[best - 1], ids[best]]?.rank ?? Self.never }
                    if best + 1 < count { ranks[best] = merges[ids[best], ids[best + 1]]?.rank ?? Self.never }
                }
            }
        }
        scratch.ids.removeLast(scratch.ids.count - count)
    }

    private func mergeByHeap(_ scratch: inout Scratch) {
        let count = scratch.ids.count
        scratch.next = Array(1...Int32(count))
        scratch.previous = Array(-1..<Int32(count - 1))
        scratch.heap.removeAll(keepingCapacity: true)
        var heap = PairHeap(scratch.heap)
        for index in 1..<count {
            if let merge = merges[scratch.ids[index - 1], scratch.ids[index]] {
                heap.push(rank: merge.rank, position: Int32(index - 1))
            }
        }
        scratch.ids.withUnsafeMutableBufferPointer { ids in
            scratch.next.withUnsafeMutableBufferPointer { next in
                scratch.previous.withUnsafeMutableBufferPointer { previous in
                    func push(_ left: Int32) {
                        let right = next[Int(left)]
                        guard Int(right) < count, let merge = merges[ids[Int(left)], ids[Int(right)]] else { return }
                        heap.push(rank: merge.rank, position: left)
                    }
                    while let (rank, left) = heap.pop() {
                        let right = ids[Int(left)] < 0 ? Int32(count) : next[Int(left)]
                        // An entry is stale when its pair has been merged with something since.
                        guard Int(right) < count, merges[ids[Int(left)], ids[Int(right)]]?.rank == rank else {
                            continue
                        }
                        ids[Int(left)] = merges.result(ofRank: rank)
                        ids[Int(right)] = -1
                        let after = next[Int(right)]
                        next[Int(left)] = after
                        if Int(after) < count { previous[Int(after)] = left }
                        if previous[Int(left)] >= 0 { push(previous[Int(left)]) }
                        push(left)
                    }
                }
            }
        }
        scratch.heap = heap.entries
        scratch.ids.removeAll { $0 < 0 }
    }
}

/// Which pairs merge: an open-addressing table from (left, right) to the merge's rank.
private struct MergeTable: Sendable {
    struct Merge {
        var rank: Int32
    }

    private var keys: [UInt64]
    private var ranks: [Int32]
    private let results: [Int32]
    private let mask: Int

    private static let empty = UInt64.max

    init(_ merges: [(left: Int32, right: Int32, result: Int32)]) {
        var capacity = 16
        while capacity < merges.count * 2 { capacity *= 2 }
        mask = capacity - 1
        keys = [UInt64](repeating: Self.empty, count: capacity)
        ranks = [Int32](repeating: 0, count: capacity)
        results = merges.map(\.result)
        for (rank, merge) in merges.enumerated() {
            let key = Self.key(merge.left, merge.right)
            var slot = Self.hash(key) & mask
            while keys[slot] != Self.empty, keys[slot] != key { slot = (slot + 1) & mask }
            // Of two equal pairs the first, which ranks lower, stands.
            guard keys[slot] == Self.empty else { continue }
            keys[slot] = key
            ranks[slot] = Int32(rank)
        }
    }

    private static func key(_ left: Int32, _ right: Int32) -> UInt64 {
        UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
    }

    private static func hash(_ key: UInt64) -> Int {
        Int(truncatingIfNeeded: (key &* 0x9E37_79B9_7F4A_7C15) >> 32)
    }

    func result(ofRank rank: Int32) -> Int32 { results[Int(rank)] }

    @inline(__always)
    subscript(left: Int32, right: Int32) -> Merge? {
        let key = Self.key(left, right)
        return keys.withUnsafeBufferPointer { keys in
            var slot = Self.hash(key) & mask
            while true {
                let found = keys[slot]
                if found == key { return Merge(rank: ranks[slot]) }
                if found == Self.empty { return nil }
                slot = (slot + 1) & mask
            }
        }
    }
}

/// A binary heap of (rank, position), lowest first.
private struct PairHeap {
    private(set) var entries: [UInt64]

    init(_ storage: [UInt64]) { entries = storage }

    mutating func push(rank: Int32, position: Int32) {
        entries.append(UInt64(UInt32(bitPattern: rank)) << 32 | UInt64(UInt32(bitPattern: position)))
        var child = entries.count - 1
        while child > 0, entries[child] < entries[(child - 1) / 2] {
            entries.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    mutating func pop() -> (rank: Int32, position: Int32)? {
        guard let top = entries.first else { return nil }
        let last = entries.removeLast()
        if !entries.isEmpty {
            var parent = 0
            entries[0] = last
            while true {
                var child = 2 * parent + 1
                guard child < entries.count else { break }
                if child + 1 < entries.count, entries[child + 1] < entries[child] { child += 1 }
                guard entries[child] < entries[parent] else { break }
                entries.swapAt(child, parent)
                parent = child
            }
        }
        return (Int32(truncatingIfNeeded: top >> 32), Int32(truncatingIfNeeded: top & 0xFFFF_FFFF))
    }
}
