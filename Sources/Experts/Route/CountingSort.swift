// CountingSort: the two passes over the ids that block alignment makes, and nothing else does.
//
// Goals in order: ids are checked before they are used as an index, no branch per id, few stores per id.
// Method: `count` tests 1024 ids for range with vectors, then counts them into four tables, so that a
//         run of one expert does not wait for its own last store. `place` needs one cursor per bucket and writes each
//         pair once. Both load two ids at a time: what limits them is stores per id, not bytes.
// Measured: 0.28 ns and 0.6 ns per id (AMD EPYC).

internal import RouteKernels

/// The kernels for this machine's instruction set; there is always a baseline.
let routeKernels: route_kernels = route_kernels_named(nil).pointee

/// Counting and placing ids. A bucket is an id, or -1; tables have their bucket 0 at index 1.
enum CountingSort {
    /// Tables that `count` writes for `ids` ids.
    static func tableCount(_ ids: Int) -> Int { ids < 512 ? 1 : 4 }

    /// Counts ids into `table`, `[experts + 1]`, the -1 first.
    ///
    /// - Parameters:
    ///   - ids: `[n]`.
    ///   - table: room for `tableCount(n)` tables; the first holds the counts afterwards.
    ///   - experts: E.
    /// - Returns: whether every id is -1 or below E; the table's contents are undefined if not.
    static func count(
        _ ids: UnsafeBufferPointer<Int32>, into table: UnsafeMutablePointer<Int32>, experts: Int
    ) -> Bool {
        let count = ids.count
        let width = experts + 1
        let tables = tableCount(count)
        table.update(repeating: 0, count: tables * width)
        guard let ids = ids.baseAddress else { return true }
        let first = table + 1
        let apart = tables == 1 ? 0 : width
        let (second, third, fourth) = (first + apart, first + 2 * apart, first + 3 * apart)
        let raw = UnsafeRawPointer(ids)
        var index = 0
        while index < count {
            let end = min(index &+ 1024, count)
            guard routeKernels.in_range(ids + index, end &- index, Int32(truncatingIfNeeded: experts)) else {
                return false
            }
            while index &+ 4 <= end {
                let low = raw.loadUnaligned(fromByteOffset: index &* 4, as: Int64.self)
                let high = raw.loadUnaligned(fromByteOffset: index &* 4 &+ 8, as: Int64.self)
                first[Int(Int32(truncatingIfNeeded: low))] &+= 1
                second[Int(low &>> 32)] &+= 1
                third[Int(Int32(truncatingIfNeeded: high))] &+= 1
                fourth[Int(high &>> 32)] &+= 1
                index &+= 4
            }
            while index < end {
                first[Int(ids[index])] &+= 1
                index &+= 1
            }
        }
        guard tables > 1 else { return true }
        for bucket in 0..<width {
            table[bucket] &+= table[width &+ bucket] &+ table[2 &* width &+ bucket] &+ table[3 &* width &+ bucket]
        }
        return true
    }

    /// Writes each pair's index to its bucket's next free row.
    ///
    /// - Parameters:
    ///   - ids: all ids; each is -1 or has a cursor.
    ///   - range: the pairs to place, ascending.
    ///   - cursors: the next row of each bucket, the bucket of -1 first; advanced.
    ///   - sorted: written.
    static func place(
        _ ids: UnsafeBufferPointer<Int32>, _ range: Range<Int>, cursors: UnsafeMutablePointer<Int32>,
        into sorted: UnsafeMutablePointer<Int32>
    ) {
        guard let ids = ids.baseAddress else { return }
        let cursors = cursors + 1
        let raw = UnsafeRawPointer(ids)
        var pair = range.lowerBound
        @inline(__always) func put(_ bucket: Int, _ pair: Int) {
            let row = cursors[bucket]
            cursors[bucket] = row &+ 1
            sorted[Int(row)] = Int32(truncatingIfNeeded: pair)
        }
        while pair &+ 4 <= range.upperBound {
            let low = raw.loadUnaligned(fromByteOffset: pair &* 4, as: Int64.self)
            let high = raw.loadUnaligned(fromByteOffset: pair &* 4 &+ 8, as: Int64.self)
            put(Int(Int32(truncatingIfNeeded: low)), pair)
            put(Int(low &>> 32), pair &+ 1)
            put(Int(Int32(truncatingIfNeeded: high)), pair &+ 2)
            put(Int(high &>> 32), pair &+ 3)
            pair &+= 4
        }
        while pair < range.upperBound {
            put(Int(ids[pair]), pair)
            pair &+= 1
        }
    }
}
