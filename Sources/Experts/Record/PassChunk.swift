// PassChunk: recorded passes one behind the other in a piece of memory that only grows.
//
// Threads: the recorder's owner appends; snapshots read. Bytes below a chunk's `used` never change again while anybody
// shares the memory, and a snapshot carries its own `used`, so both may work at once without a lock or a copy.
// A pass takes, in this order and rounded up to 4 bytes:
//     counts     int32 [L, P]
//     runs       int32 [R, 3]: request (index into `requests`), first position, tokens      only per token
//     token ids  int32 [N]                                                                  only per token
//     experts    int16 [L, N, K], -1 for none                                               only per token

/// Memory of fixed size, freed with its last owner.
final class ChunkMemory: @unchecked Sendable {  // see the head of this file
    let base: UnsafeMutableRawPointer
    let capacity: Int

    init(capacity: Int) {
        base = .allocate(byteCount: capacity, alignment: 16)
        self.capacity = capacity
    }

    deinit { base.deallocate() }
}

/// What is known of one recorded pass beside its numbers.
struct PassRecord: Sendable {
    /// Bytes that one takes in a list.
    static let size = MemoryLayout<PassRecord>.stride

    var id: Int
    var mode: ForwardMode
    /// Real tokens.
    var tokens: Int
    /// Index into the chunk's placements.
    var placement: Int
    var balancedness = Float.nan
    /// Where its bytes begin in the chunk.
    var offset: Int
    /// N with padding and R; zero when tokens are not kept.
    var rows = 0
    var runs = 0
}

/// Some consecutive passes.
struct PassChunk: Sendable {
    var memory: ChunkMemory
    private(set) var used = 0
    private(set) var passes: [PassRecord] = []
    /// How many passes the list has room for.
    private var listed: Int
    /// The placements of these passes, in order of appearance.
    private(set) var placements: [Placement] = []
    /// The ids of the requests that runs name.
    private(set) var requests: [String] = []
    private var requestIndex: [String: Int32] = [:]
    /// Bytes that the request ids take, about.
    private(set) var requestBytes = 0

    /// An empty chunk with room for `passes` passes before its list grows.
    init(capacity: Int, passes: Int) {
        memory = ChunkMemory(capacity: capacity)
        listed = passes
        self.passes.reserveCapacity(passes)
    }

    /// Bytes of one pass.
    static func size(counts: Int, runs: Int = 0, rows: Int = 0, ids: Int = 0) -> Int {
        (4 * (counts + 3 * runs + rows) + 2 * ids + 3) & ~3
    }

    /// Bytes that keeping this chunk takes.
    var cost: Int { memory.capacity + PassRecord.size * listed + requestBytes }

    /// What one more pass costs.
    ///
    /// - Parameters:
    ///   - size: of the pass.
    ///   - requestBytes: of its requests, were they all new here.
    /// - Returns: bytes by which the cost rises at most; nil when there is no room for the pass.
    func cost(ofPass size: Int, requestBytes: Int) -> Int? {
        guard memory.capacity - used >= size else { return nil }
        return requestBytes + (passes.count < listed ? 0 : PassRecord.size * listed)
    }

    /// Forgets its passes and keeps its memory, which nobody else may read any more.
    mutating func clear() {
        used = 0
        passes.removeAll(keepingCapacity: true)
        placements.removeAll(keepingCapacity: true)
        requests.removeAll(keepingCapacity: true)
        requestIndex.removeAll(keepingCapacity: true)
        requestBytes = 0
    }

    /// Notes how even a pass was.
    mutating func rate(_ pass: Int, as balancedness: Float) { passes[pass].balancedness = balancedness }

    /// Appends a pass, which fits; its balancedness comes later.
    mutating func append(_ pass: PassCounts, detail: PassDetail?) {
        if placements.last != pass.placement { placements.append(pass.placement) }
        var record = PassRecord(
            id: pass.id, mode: pass.mode, tokens: pass.tokens, placement: placements.count - 1, offset: used)
        var at = memory.base + used
        pass.counts.withUnsafeBytes { counts in
            if let base = counts.baseAddress { at.copyMemory(from: base, byteCount: counts.count) }
            at += counts.count
        }
        if let detail {
            record.rows = detail.tokens
            record.runs = detail.runs.count
            at = append(detail, at: at)
        }
        used = (at - memory.base + 3) & ~3
        if passes.count == listed {
            listed *= 2
            passes.reserveCapacity(listed)
        }
        passes.append(record)
    }

    private mutating func append(_ detail: PassDetail, at start: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer {
        var at = start
        for run in detail.runs {
            at.storeBytes(of: index(of: run.request), as: Int32.self)
            at.storeBytes(of: run.start, toByteOffset: 4, as: Int32.self)
            at.storeBytes(of: run.count, toByteOffset: 8, as: Int32.self)
            at += 12
        }
        let ids = UnsafeRawBufferPointer(detail.namedIDs)
        precondition(ids.count == 4 * detail.tokens, "\(ids.count / 4) of \(detail.tokens) tokens are named")
        if let base = ids.baseAddress { at.copyMemory(from: base, byteCount: ids.count) }
        at += ids.count
        let size = detail.tokens * detail.topK
        for layer in 0..<detail.layers {
            let row = at.bindMemory(to: Int16.self, capacity: size)
            if let experts = detail.experts(layer: layer) {
                for index in 0..<size { row[index] = Int16(truncatingIfNeeded: experts[index]) }
            } else {
                row.update(repeating: -1, count: size)
            }
            at += 2 * size
        }
        return at
    }

    /// The number of a request in this chunk.
    private mutating func index(of request: String) -> Int32 {
        if let index = requestIndex[request] { return index }
        let index = Int32(requests.count)
        requestIndex[request] = index
        requests.append(request)
        requestBytes += PassDetail.Run.cost(of: request)
        return index
    }

    // MARK: Reading

    /// The counts of a pass; `[L, P]`.
    func counts(_ record: PassRecord) -> UnsafeBufferPointer<Int32> {
        let placement = placements[record.placement]
        return buffer(record.offset, count: placement.layers * placement.physicalExperts)
    }

    /// The runs of a pass; `[R, 3]`: request, first position, tokens.
    func runs(_ record: PassRecord) -> UnsafeBufferPointer<Int32> {
        buffer(record.offset + 4 * counts(record).count, count: 3 * record.runs)
    }

    /// The token ids of a pass; `[N]`.
    func tokenIDs(_ record: PassRecord) -> UnsafeBufferPointer<Int32> {
        buffer(record.offset + 4 * (counts(record).count + 3 * record.runs), count: record.rows)
    }

    /// The experts of a pass; `[L, N, K]`, `count` in all.
    func experts(_ record: PassRecord, count: Int) -> UnsafeBufferPointer<Int16> {
        buffer(record.offset + 4 * (counts(record).count + 3 * record.runs + record.rows), count: count)
    }

    private func buffer<Element: BitwiseCopyable>(_ offset: Int, count: Int) -> UnsafeBufferPointer<Element> {
        // Valid while this chunk is in use: callers read within `withExtendedLifetime`.
        UnsafeBufferPointer(
            start: UnsafePointer((memory.base + offset).bindMemory(to: Element.self, capacity: count)), count: count)
    }
}
