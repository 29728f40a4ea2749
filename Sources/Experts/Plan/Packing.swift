// Packing: items into packs of equal size, each item onto the lightest pack that has room.
//
// Goals in order: the tie rules of DeepSeek's EPLB (lowest pack first), float32 sums in visiting order, speed.
// Method: a winner tree over (running weight, pack) keys; a full pack drops out by an infinite key.
// Source: DeepSeek EPLB, balanced packing (github.com/deepseek-ai/EPLB); longest processing time first, after
//         R. L. Graham, "Bounds on multiprocessing timing anomalies" (1969), with a limit on the items of a pack.

/// Packs of equal size under filling.
struct Packing: ~Copyable {
    private let packs: Int
    private let room: Int
    private let leaves: Int
    /// Node i has the smaller of nodes 2i and 2i + 1; leaf of pack g: `leaves + g`. `[2 * leaves]`
    private let tree: UnsafeMutablePointer<UInt64>
    /// Items in each pack; `[packs]`.
    private let filled: UnsafeMutablePointer<Int32>

    /// Empty packs.
    ///
    /// - Parameters:
    ///   - packs: how many.
    ///   - room: items that each takes.
    init(packs: Int, room: Int) {
        self.packs = packs
        self.room = room
        var leaves = 1
        while leaves < packs { leaves *= 2 }
        self.leaves = leaves
        tree = .allocate(capacity: 2 * leaves)
        filled = .allocate(capacity: packs)
    }

    deinit {
        tree.deallocate()
        filled.deallocate()
    }

    /// Packs every item.
    ///
    /// - Parameters:
    ///   - sorted: `packs * room` keys in the order of visiting.
    ///   - places: receives for item i `pack * room + rank in pack`; `[packs * room]`.
    func pack(_ sorted: UnsafePointer<UInt64>, places: UnsafeMutablePointer<Int32>) {
        guard room > 1 else {
            // One item per pack: EPLB neither sorts nor weighs.
            for item in 0..<packs { places[item] = Int32(truncatingIfNeeded: item) }
            return
        }
        filled.update(repeating: 0, count: packs)
        for pack in 0..<leaves { tree[leaves + pack] = pack < packs ? UInt64(pack) : .max }
        for node in stride(from: leaves - 1, to: 0, by: -1) { tree[node] = min(tree[2 * node], tree[2 * node + 1]) }
        for index in 0..<packs * room {
            let key = sorted[index]
            let lightest = tree[1]
            let pack = keyIndex(lightest)
            let weight = Float(bitPattern: UInt32(truncatingIfNeeded: lightest >> 32)) + keyWeight(key)
            let rank = filled[pack]
            places[keyIndex(key)] = Int32(truncatingIfNeeded: pack &* room) &+ rank
            filled[pack] = rank &+ 1
            var node = leaves &+ pack
            var winner = rank &+ 1 == room ? UInt64.max : UInt64(weight.bitPattern) << 32 | UInt64(pack)
            tree[node] = winner
            while node > 1 {
                winner = min(winner, tree[node ^ 1])
                node &>>= 1
                tree[node] = winner
            }
        }
    }
}
