// BestK: the K best of a row, in order, in one scan.
//
// Method: insertion into a sorted list that lives in the output row itself (expected K · ln(E / K) insertions for random
//         logits); sixteen keys at a time are compared with the last of the list, so most are passed over together.

/// The K best keys offered so far, in descending order, kept in the caller's memory.
struct BestK {
    let keys: UnsafeMutablePointer<Float>  // [K]
    let ids: UnsafeMutablePointer<Int32>  // [K]
    let capacity: Int
    private(set) var count = 0

    init(keys: UnsafeMutablePointer<Float>, ids: UnsafeMutablePointer<Int32>, capacity: Int) {
        self.keys = keys
        self.ids = ids
        self.capacity = capacity
    }

    /// Offers the experts of `range`, ascending; an equal key never displaces an earlier one, NaN counts as -infinity.
    @inline(__always)
    mutating func offer(_ candidates: UnsafePointer<Float>, _ range: Range<Int>) {
        var expert = range.lowerBound
        while expert < range.upperBound && count < capacity {
            let key = candidates[expert]
            insert(key.isNaN ? -.infinity : key, expert, at: count)
            count += 1
            expert += 1
        }
        while expert &+ 16 <= range.upperBound {
            let chunk = UnsafeRawPointer(candidates + expert).loadUnaligned(as: Lanes16.self)
            if any(chunk .> Lanes16(repeating: keys[capacity &- 1])) { scan(candidates, expert..<expert &+ 16) }
            expert &+= 16
        }
        if expert < range.upperBound { scan(candidates, expert..<range.upperBound) }
    }

    /// Offers to a full list.
    @inline(__always)
    private func scan(_ candidates: UnsafePointer<Float>, _ range: Range<Int>) {
        var threshold = keys[capacity &- 1]
        for expert in range where candidates[expert] > threshold {
            insert(candidates[expert], expert, at: capacity &- 1)
            threshold = keys[capacity &- 1]
        }
    }

    /// Takes the experts of `range`, ascending and regardless of their keys, while there is room.
    mutating func fill(_ range: Range<Int>) {
        for expert in range.prefix(capacity - count) {
            ids[count] = Int32(truncatingIfNeeded: expert)
            count += 1
        }
    }

    @inline(__always)
    private func insert(_ key: Float, _ expert: Int, at last: Int) {
        var slot = last
        while slot > 0 && key > keys[slot &- 1] {
            keys[slot] = keys[slot &- 1]
            ids[slot] = ids[slot &- 1]
            slot &-= 1
        }
        keys[slot] = key
        ids[slot] = Int32(truncatingIfNeeded: expert)
    }
}
