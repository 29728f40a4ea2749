import CPUKernels
import Support
import Testing

/// How often each item of an op was computed.
private struct Visits {
    var counts: UnsafeMutablePointer<Int>
    var items: Int
}

private func visit(_ raw: UnsafeRawPointer?, begin: Int, end: Int) {
    guard let visits = raw?.load(as: Visits.self) else { return }
    guard 0 <= begin, begin < end, end <= visits.items else {
        Issue.record("items \(begin) ..< \(end)")
        return
    }
    for item in begin..<end { visits.counts[item] += 1 }
}

@Suite struct BothTests {
    /// Runs both ops over the ranges between `cuts`; how often each item was computed, those of the first op first.
    private func counts(_ first: Int, _ second: Int, shares: Int, cuts: [Int]) -> [Int] {
        let counts = UnsafeMutablePointer<Int>.allocate(capacity: first + second)
        counts.initialize(repeating: 0, count: first + second)
        defer { counts.deallocate() }
        let ops = [Visits(counts: counts, items: first), Visits(counts: counts + first, items: second)]
        ops.withUnsafeBufferPointer { ops in
            var both = cpu_both_args(
                first: visit, second: visit, first_args: ops.baseAddress!, second_args: ops.baseAddress! + 1,
                first_items: first, second_items: second, shares: shares)
            for (begin, end) in zip(cuts, cuts.dropFirst()) where begin < end { cpu_both(&both, begin, end) }
        }
        return Array(UnsafeBufferPointer(start: counts, count: first + second))
    }

    @Test("every item of both ops is computed once, wherever ranges begin and end")
    func once() {
        var generator = SeededGenerator(seed: 77)
        for _ in 0..<3000 {
            let (first, second) = (Int.random(in: 0...40, using: &generator), Int.random(in: 1...40, using: &generator))
            let shares = Int.random(in: 1...min(9, first + second), using: &generator)
            let cuts = (0..<4).map { _ in Int.random(in: 0...first + second, using: &generator) }
            let counts = counts(first, second, shares: shares, cuts: [0] + cuts.sorted() + [first + second])
            #expect(counts.allSatisfy { $0 == 1 }, "\(first) + \(second) items, \(shares) shares, cut at \(cuts)")
        }
    }

    @Test("each share has both ops' items in proportion, and every other one begins with the second op")
    func proportion() {
        // 6 + 2 items in two shares: 0 ..< 3 of the first op and 0 of the second; then 1 of the second and 3 ..< 6.
        #expect(counts(6, 2, shares: 2, cuts: [0, 3]) == [1, 1, 1, 0, 0, 0, 0, 0])
        #expect(counts(6, 2, shares: 2, cuts: [3, 4]) == [0, 0, 0, 0, 0, 0, 1, 0])
        #expect(counts(6, 2, shares: 2, cuts: [4, 5]) == [0, 0, 0, 0, 0, 0, 0, 1])
        #expect(counts(6, 2, shares: 2, cuts: [5, 8]) == [0, 0, 0, 1, 1, 1, 0, 0])
    }
}
