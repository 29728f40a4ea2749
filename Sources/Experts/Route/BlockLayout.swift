// BlockLayout: between counting and placing, every bucket gets its rows, and every lane its part of them.
//
// A bucket is an id, or -1; tables have the bucket of -1 first.

/// The lanes' tables: counts of each bucket at first, the next free row of each after the layout.
struct Cursors {
    let tables: UnsafeMutablePointer<Int32>
    /// Entries from one lane's table to the next.
    let stride: Int
    let lanes: Int
    let pairs: Int
    /// Lanes share the pairs in multiples of this.
    let grain: Int

    /// The pairs of one lane.
    func range(_ lane: Int) -> Range<Int> { laneRange(lane, of: pairs, lanes: lanes, grain: grain) }

    /// The table of one lane.
    func table(_ lane: Int) -> UnsafeMutablePointer<Int32> { tables + lane * stride }

    /// Writes the counts of all experts over all lanes.
    func sumCounts(into counts: UnsafeMutablePointer<Int32>, experts: Int) {
        counts.update(from: tables + 1, count: experts)
        for lane in 1..<max(1, lanes) {
            let table = table(lane) + 1
            for expert in 0..<experts { counts[expert] &+= table[expert] }
        }
    }

    /// Rows in use plus dropped pairs: what memory of the caller's must hold.
    func rowsNeeded(_ rule: BlockRule) -> Int {
        var rows = 0
        for bucket in 0...rule.experts {
            let count = (0..<lanes).reduce(0) { $0 + Int(table($1)[bucket]) }
            let isForeign = bucket == 0 || (rule.map.map { $0.local[bucket - 1] < 0 } ?? false)
            let takesBlocks = !isForeign || rule.foreign == .ownBlocks
            rows += takesBlocks ? (count + rule.blockSize - 1) / rule.blockSize * rule.blockSize : count
        }
        return rows
    }

    /// Turns the counts of one bucket into rows from `start` on; returns how many there are, which waits for no `start`.
    @inline(__always)
    func give(bucket: Int, from start: Int) -> Int {
        let start = Int32(truncatingIfNeeded: start)
        var total: Int32 = 0
        for lane in 0..<lanes {
            let cell = tables + (lane &* stride &+ bucket)
            let count = cell.pointee
            cell.pointee = start &+ total
            total &+= count
        }
        return Int(total)
    }
}

/// Rows behind the pairs of one bucket that fill its last block.
struct PadRows {
    let start: Int32
    let count: Int32

    @inline(__always)
    func fill(_ sorted: UnsafeMutablePointer<Int32>, with pad: Int32) {
        (sorted + Int(start)).update(repeating: pad, count: Int(count))
    }
}

/// The rows and blocks of every bucket, given out in order.
struct BlockLayout {
    let sorted: UnsafeMutablePointer<Int32>
    let blocks: UnsafeMutablePointer<Int32>
    let cursors: Cursors
    let blockSize: Int
    let pad: Int32
    /// Where pad rows are noted for the lanes to fill, one entry per bucket; nil to fill them at once.
    let pads: UnsafeMutablePointer<PadRows>?
    /// Rows given out.
    var rows = 0
    var blockCount = 0
    /// Entries of `pads`.
    var padCount = 0

    /// Gives every bucket its rows, in the order that `rule` says, and dropped pairs the rows behind.
    mutating func lay(_ rule: BlockRule) {
        if rule.foreign == .ownBlocks { give(bucket: 0, label: -1) }
        if let map = rule.map {
            switch rule.foreign {
            case .ownBlocks:
                for expert in 0..<rule.experts { give(bucket: expert + 1, label: map.local[expert]) }
            case .dropped:
                for expert in map.residents { give(bucket: Int(expert) + 1, label: map.local[Int(expert)]) }
            }
        } else {
            for expert in 0..<rule.experts { give(bucket: expert + 1, label: Int32(truncatingIfNeeded: expert)) }
        }
        guard rule.foreign == .dropped else { return }
        var end = rows + cursors.give(bucket: 0, from: rows)
        guard let map = rule.map else { return }
        for expert in 0..<rule.experts where map.local[expert] < 0 {
            end += cursors.give(bucket: expert + 1, from: end)
        }
    }

    /// Whole blocks for one bucket; what its pairs leave of the last is padded, or noted.
    @inline(__always)
    private mutating func give(bucket: Int, label: Int32) {
        let count = cursors.give(bucket: bucket, from: rows)
        guard count > 0 else { return }
        let used = Int(UInt32(truncatingIfNeeded: count &+ blockSize &- 1) / UInt32(truncatingIfNeeded: blockSize))
        (blocks + blockCount).update(repeating: label, count: used)
        blockCount += used
        let end = rows &+ used &* blockSize
        let rest = PadRows(
            start: Int32(truncatingIfNeeded: rows &+ count), count: Int32(truncatingIfNeeded: end &- rows &- count))
        if let pads {
            (pads + padCount).initialize(to: rest)
            padCount += 1
        } else {
            rest.fill(sorted, with: pad)
        }
        rows = end
    }
}
