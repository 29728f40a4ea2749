// DescendingSort: heavy before light, and among equals the lower index first.
//
// Goals in order: the exact order for all non-negative floats, speed for some hundred items.
// Method: a key holds the complement of the weight's bits above the index, so that ascending integers are the order
//         wanted. One counting pass spreads the keys over buckets that are even in the bits (nearly the logarithm)
//         between the lightest and the heaviest weight, and insertion finishes. A crowded bucket, rare, sends all
//         keys to the library's sort instead.

/// The key of an item: ascending keys are descending weights, then ascending indices.
///
/// - Parameters:
///   - weight: finite or infinite, at least 0 and not -0.
///   - index: at most 32 bits.
/// - Returns: the weight above the index.
@inline(__always) func descendingKey(_ weight: Float, _ index: Int) -> UInt64 {
    UInt64(~weight.bitPattern) << 32 | UInt64(UInt32(truncatingIfNeeded: index))
}

/// The index in a key.
@inline(__always) func keyIndex(_ key: UInt64) -> Int { Int(UInt32(truncatingIfNeeded: key)) }

/// The weight in a key.
@inline(__always) func keyWeight(_ key: UInt64) -> Float { Float(bitPattern: ~UInt32(truncatingIfNeeded: key >> 32)) }

/// Buckets of the counting pass; the last is for weight 0.
private let bucketCount = 512

/// Up to so many keys insertion alone is faster.
private let fewKeys = 40

/// How many `UInt32` of scratch the sort needs.
let descendingSortScratch = bucketCount + 2

/// Sorts keys ascending, that is items by descending weight.
///
/// - Parameters:
///   - keys: `count` keys; contents are lost.
///   - sorted: receives them in order; no overlap with `keys`.
///   - count: how many.
///   - scratch: `descendingSortScratch` integers.
/// - Complexity: O(count) for weights that spread, O(count log count) at worst.
func sortDescending(
    _ keys: UnsafeMutablePointer<UInt64>, into sorted: UnsafeMutablePointer<UInt64>, count: Int,
    scratch: UnsafeMutablePointer<UInt32>
) {
    guard count > fewKeys else {
        sorted.update(from: keys, count: count)
        insertionSort(sorted, count: count)
        return
    }
    var lightest = UInt32.max
    var heaviest: UInt32 = 0
    for index in 0..<count {
        let bits = ~UInt32(truncatingIfNeeded: keys[index] >> 32)
        heaviest = max(heaviest, bits)
        lightest = min(lightest, bits == 0 ? .max : bits)
    }
    let range = heaviest >= lightest ? heaviest - lightest : 0
    let shift = UInt32(max(0, (32 - range.leadingZeroBitCount) - bucketCount.trailingZeroBitCount))
    @inline(__always) func bucket(_ key: UInt64) -> Int {
        let bits = ~UInt32(truncatingIfNeeded: key >> 32)
        return bits == 0 ? bucketCount : Int((heaviest &- bits) &>> shift)
    }

    // Counts are kept one place up, so that the running sum leaves each bucket's start in its own place.
    scratch.update(repeating: 0, count: descendingSortScratch)
    for index in 0..<count { scratch[bucket(keys[index]) + 1] &+= 1 }
    var start: UInt32 = 0
    var crowd: UInt32 = 0
    for index in 1...bucketCount {
        crowd = max(crowd, scratch[index])
        start &+= scratch[index]
        scratch[index] = start
    }
    guard crowd <= 64 else {
        sorted.update(from: keys, count: count)
        var all = UnsafeMutableBufferPointer(start: sorted, count: count)
        all.sort()
        return
    }
    for index in 0..<count {
        let place = bucket(keys[index])
        sorted[Int(scratch[place])] = keys[index]
        scratch[place] &+= 1
    }
    insertionSort(sorted, count: count)
}

private func insertionSort(_ keys: UnsafeMutablePointer<UInt64>, count: Int) {
    for index in 1..<max(1, count) {
        let key = keys[index]
        var hole = index
        while hole > 0, keys[hole - 1] > key {
            keys[hole] = keys[hole - 1]
            hole -= 1
        }
        keys[hole] = key
    }
}
