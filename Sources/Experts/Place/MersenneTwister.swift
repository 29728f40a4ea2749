// MersenneTwister: the random numbers that other engines deal replicas with.
//
// Goals in order: the same numbers as CPython's `random` draws from the same seed, simplicity.
// Source: M. Matsumoto and T. Nishimura, "Mersenne Twister" (1998), with initialisation by array.

/// The 32-bit Mersenne Twister, seeded with one word.
struct MersenneTwister {
    private static let size = 624
    private static let shift = 397
    private var state: [UInt32]
    private var next = size

    /// A generator seeded by array initialisation with the one word `seed`.
    init(seed: UInt32) {
        state = [UInt32](repeating: 0, count: Self.size)
        state[0] = 19_650_218
        for index in 1..<Self.size { state[index] = mixed(after: index) &* 1_812_433_253 &+ UInt32(index) }
        var index = 1
        for _ in 0..<Self.size {
            state[index] = (state[index] ^ (mixed(after: index) &* 1_664_525)) &+ seed
            advance(&index)
        }
        for _ in 0..<Self.size - 1 {
            state[index] = (state[index] ^ (mixed(after: index) &* 1_566_083_941)) &- UInt32(index)
            advance(&index)
        }
        state[0] = 0x8000_0000
    }

    private func mixed(after index: Int) -> UInt32 { state[index - 1] ^ (state[index - 1] >> 30) }

    private mutating func advance(_ index: inout Int) {
        index += 1
        guard index == Self.size else { return }
        state[0] = state[Self.size - 1]
        index = 1
    }

    /// The next 32 bits.
    mutating func draw() -> UInt32 {
        if next == Self.size { regenerate() }
        var word = state[next]
        next += 1
        word ^= word >> 11
        word ^= (word << 7) & 0x9D2C_5680
        word ^= (word << 15) & 0xEFC6_0000
        return word ^ (word >> 18)
    }

    private mutating func regenerate() {
        for index in 0..<Self.size {
            let joined = (state[index] & 0x8000_0000) | (state[(index + 1) % Self.size] & 0x7FFF_FFFF)
            let twist: UInt32 = joined & 1 == 0 ? 0 : 0x9908_B0DF
            state[index] = state[(index + Self.shift) % Self.size] ^ (joined >> 1) ^ twist
        }
        next = 0
    }

    /// A number below `bound`, which is at least 1.
    mutating func draw(below bound: Int) -> Int {
        let bits = Int.bitWidth - bound.leadingZeroBitCount
        while true {
            let value = Int(draw() >> UInt32(32 - bits))
            if value < bound { return value }
        }
    }

    /// `count` items in random order in which each candidate occurs equally often, or once more.
    mutating func fairChoices(of candidates: ArraySlice<Int32>, count: Int) -> [Int32] {
        let whole = count / candidates.count
        var chosen = (0..<whole).flatMap { _ in candidates }
        var pool = Array(candidates)
        for drawn in 0..<count - whole * candidates.count {
            let left = candidates.count - drawn
            let index = draw(below: left)
            chosen.append(pool[index])
            pool[index] = pool[left - 1]
        }
        for index in stride(from: chosen.count - 1, to: 0, by: -1) {
            chosen.swapAt(index, draw(below: index + 1))
        }
        return chosen
    }
}
