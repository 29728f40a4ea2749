// SubsetSums: the sums of all subsets of a few loads, to be searched for those in a range.
//
// Goals in order: speed of summing and searching.
// Method: a load doubles the table, each sum of the upper half one addition to one of the lower half. Four at a time.
//         Bit i of a sum's place says whether load i is in it, so that a table with more loads begins with the same sums.

/// A table of sums.
struct SubsetSums: ~Copyable {
    /// More loads than this have too many subsets to look at all of them at once.
    static let most = 11
    /// More loads than this have too many subsets.
    static let mostExtended = 12

    /// `[2^mostExtended]`, as many as the loads have subsets.
    private let sums: UnsafeMutablePointer<Float>
    /// Places of the loads in the list that they come from; `[mostExtended]`.
    let items: UnsafeMutablePointer<Int>

    /// Space for `mostExtended` loads.
    init() {
        sums = .allocate(capacity: 1 << Self.mostExtended)
        items = .allocate(capacity: Self.mostExtended)
    }

    deinit {
        sums.deallocate()
        items.deallocate()
    }

    /// Sums up every subset of the first `most` loads of a list that are not used.
    ///
    /// - Parameters:
    ///   - loads: `[size]`, at most 63.
    ///   - size: how many.
    ///   - used: bit i says whether load i is left out.
    ///   - base: what every sum begins with.
    /// - Returns: how many sums there are, at least a vector of four; those of no subset are infinite.
    func sumUp(_ loads: UnsafePointer<Float>, _ size: Int, without used: Int, from base: Float) -> Int {
        sums[0] = base
        var place = 0
        for item in 0..<size where used >> item & 1 == 0 && place < Self.most {
            extend(by: loads[item], item, at: place)
            place &+= 1
        }
        let count = 1 << place
        for subset in count..<max(4, count) { sums[subset] = .infinity }
        return max(4, count)
    }

    /// Adds the subsets with one more load, item `item` of the list, to those of `place` loads.
    @inline(__always) func extend(by load: Float, _ item: Int, at place: Int) {
        items[place] = item
        let count = 1 << place
        let upper = sums + count
        if count < 4 {
            for subset in 0..<count { upper[subset] = sums[subset] + load }
        } else {
            for subset in stride(from: 0, to: count, by: 4) {
                UnsafeMutableRawPointer(upper + subset).storeBytes(of: vector(subset) + load, as: SIMD4<Float>.self)
            }
        }
    }

    /// The first subset from a place on whose sum lies in a range; nil where there is none.
    func first(from place: Int, of count: Int, low: Float, high: Float) -> Int? {
        var subset = place
        while subset & 3 != 0 {
            if sums[subset] >= low, sums[subset] <= high { return subset }
            subset &+= 1
        }
        while subset < count {
            let found = vector(subset)
            if any((found .>= low) .& (found .<= high)) {
                while !(sums[subset] >= low && sums[subset] <= high) { subset &+= 1 }
                return subset
            }
            subset &+= 4
        }
        return nil
    }

    /// The sum of a subset.
    subscript(_ subset: Int) -> Float { sums[subset] }

    @inline(__always) private func vector(_ place: Int) -> SIMD4<Float> {
        UnsafeRawPointer(sums + place).loadUnaligned(as: SIMD4<Float>.self)
    }
}
