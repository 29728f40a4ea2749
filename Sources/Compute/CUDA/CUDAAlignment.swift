// CUDAAlignment: block alignment on a GPU, the same rows as BlockAlignment gives, in one launch, with counts.
//
// Owner: the thread that drives the GPU. One object serves any number of streams: what launches write to is the stream's.

public import CUDAKernels
public import Experts

/// Device memory that receives blocks.
public struct BlockMemory {
    /// `[capacity]` pair indices.
    public var sortedPairs: UInt64
    /// `[blockCapacity]` experts.
    public var blockExperts: UInt64
    /// `[1]` rows in use.
    public var paddedCount: UInt64
    /// Room for rows.
    public var capacity: Int
    /// Room for blocks.
    public var blockCapacity: Int

    /// Memory from its parts.
    public init(sortedPairs: UInt64, blockExperts: UInt64, paddedCount: UInt64, capacity: Int, blockCapacity: Int) {
        self.sortedPairs = sortedPairs
        self.blockExperts = blockExperts
        self.paddedCount = paddedCount
        self.capacity = capacity
        self.blockCapacity = blockCapacity
    }
}

/// Groups pairs by expert.
public final class CUDAAlignment {
    /// How pairs become blocks.
    public let rule: BlockRule
    private let device: CUDADevice
    private let bucketOf: DeviceBuffer<Int32>
    private let labelOf: DeviceBuffer<Int32>

    let buckets: Int

    /// An alignment by `rule`.
    ///
    /// - Throws: `CUDAError`, also for more experts than the kernels serve.
    public init(_ device: CUDADevice, rule: BlockRule, on stream: CUDAStream) throws(CUDAError) {
        self.device = device
        self.rule = rule
        buckets = rule.experts + (rule.foreign == .ownBlocks ? 1 : 0)
        _ = try AlignLaunch(pairs: 1, buckets: buckets, blockSize: rule.blockSize, on: device.description)
        let tables = Self.tables(rule)
        bucketOf = try DeviceBuffer(device, count: tables.bucketOf.count)
        labelOf = try DeviceBuffer(device, count: tables.labelOf.count)
        try bucketOf.write(tables.bucketOf, on: stream)
        try labelOf.write(tables.labelOf, on: stream)
    }

    /// The bucket of -1 and of each id (-1: none), and the label of each bucket's blocks (-2: its pairs take no rows).
    static func tables(_ rule: BlockRule) -> (bucketOf: [Int32], labelOf: [Int32]) {
        let experts = Int32(truncatingIfNeeded: rule.experts)
        let local = rule.map?.local ?? (0..<experts).map { $0 }
        if rule.foreign == .ownBlocks { return ((0...experts).map { $0 }, [-1] + local) }
        // Buckets are local ids; experts of other ranks, which are counted too, have the ids that are left.
        var labels = [Int32](repeating: -2, count: rule.experts)
        for id in local where id >= 0 { labels[Int(id)] = id }
        var left = labels.indices.filter { labels[$0] < 0 }.makeIterator()
        let buckets = local.map { $0 >= 0 ? $0 : Int32(truncatingIfNeeded: left.next() ?? 0) }
        return ([-1] + buckets, labels)
    }

    /// Whether the kernels may take the shorter way: PLAIN in align.cuh.
    func isPlain(_ blocks: BlockMemory) -> Bool {
        rule.map == nil && rule.foreign == .dropped && rule.blockSize >= 4 && rule.blockSize.nonzeroBitCount == 1
            && blocks.sortedPairs % 16 == 0
    }

    /// Rows that suffice for `pairs` pairs, whatever the ids are.
    public func capacity(pairs: Int) -> Int { min(rule.capacity(pairs: pairs), pairs * rule.blockSize) }

    /// Enqueues the alignment of `pairs` ids.
    ///
    /// An id that is neither -1 nor below E counts as -1: a kernel cannot throw, and nobody waits for it.
    ///
    /// - Parameters:
    ///   - ids: device address of `[pairs]` int32.
    ///   - pairs: n.
    ///   - blocks: receives the result; `capacity(pairs:)` rows and as many blocks as they make.
    ///   - fillTail: whether rows behind the padded count become `pairs`, and blocks behind it -1. Otherwise what lies there
    ///     may be anything.
    ///   - record: where counts go; nil when nobody counts.
    ///   - launch: the kernel; nil for the one that suits the size.
    ///   - stream: where it runs.
    /// - Throws: `CUDAError`, also for too little room and too many pairs.
    public func align(
        ids: UInt64, pairs: Int, into blocks: BlockMemory, fillTail: Bool = false, record: route_record? = nil,
        launch: AlignLaunch? = nil, on stream: CUDAStream
    ) throws(CUDAError) {
        let launch =
            if let launch { launch } else {
                try AlignLaunch(pairs: pairs, buckets: buckets, blockSize: rule.blockSize, on: device.description)
            }
        let shared = launch.sharedMemory(pairs: pairs, buckets: buckets, blockSize: rule.blockSize)
        let kernel = try device.kernels.kernel(
            "align", of: KernelSource("align.cu", launch.constants(isPlain: isPlain(blocks))), sharedMemory: shared,
            largeClusters: launch.team == .cluster && launch.parts > 8)
        var arguments = try arguments(ids: ids, pairs: pairs, into: blocks, fillTail: fillTail, record: record)
        arguments.stage_rows = Int32(launch.stageRows(pairs: pairs, buckets: buckets, blockSize: rule.blockSize))
        if launch.team == .grid { arguments.workspace = try stream.workspace(device).address }
        // What lies behind few pairs' rows is for CTAs of its own.
        let behind = blocks.capacity - min(blocks.capacity, pairs * rule.blockSize)
        let parts =
            launch.team == .few && fillTail
            ? 1 + min(64, (behind + launch.warps * 128 - 1) / (launch.warps * 128)) : launch.parts
        let how = cuda_launch(
            grid: UInt32(parts), block: UInt32(launch.warps * 32), shared_bytes: UInt32(shared),
            cluster: launch.team == .cluster ? UInt32(launch.parts) : 0, cooperative: launch.team == .grid,
            early: device.startsEarly)
        try kernel.launch(how, on: stream, arguments)
    }

    /// What the kernels are told.
    func arguments(
        ids: UInt64, pairs: Int, into blocks: BlockMemory, fillTail: Bool, record: route_record?
    ) throws(CUDAError) -> align_arguments {
        let needed = capacity(pairs: pairs)
        let room = min(blocks.capacity, blocks.blockCapacity * rule.blockSize)
        guard needed <= room else {
            throw CUDAError("align \(pairs) pairs", .unsupported("room for \(room) rows, \(needed) may be needed"))
        }
        guard rule.capacity(pairs: pairs) <= Int(Int32.max) else {
            throw CUDAError("align \(pairs) pairs", .unsupported("more rows than 32-bit indices"))
        }
        var arguments = align_arguments()
        arguments.ids = ids
        arguments.bucket_of = bucketOf.address
        arguments.label_of = labelOf.address
        arguments.sorted = blocks.sortedPairs
        arguments.blocks = blocks.blockExperts
        arguments.padded = blocks.paddedCount
        arguments.pairs = Int32(pairs)
        arguments.experts = Int32(rule.experts)
        arguments.buckets = Int32(buckets)
        arguments.block_size = Int32(rule.blockSize)
        arguments.block_shift =
            rule.blockSize.nonzeroBitCount == 1 ? Int32(rule.blockSize.trailingZeroBitCount) : -1
        arguments.capacity = Int32(truncatingIfNeeded: blocks.capacity)
        arguments.block_capacity = Int32(truncatingIfNeeded: blocks.blockCapacity)
        arguments.fill_tail = fillTail ? 1 : 0
        if let record { arguments.record = record }
        return arguments
    }
}
