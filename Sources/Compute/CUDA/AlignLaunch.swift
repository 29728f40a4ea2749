// AlignLaunch: which kernel aligns how many pairs, and with how many CTAs. The one place where this is decided.
//
// Few pairs: a warp each. To 1024 (2048 without clusters): each CTA counts all pairs and writes some experts' rows, so
// that none waits for another. More: CTAs share the counting too, in one cluster as long as its few multiprocessors
// suffice, then over the whole GPU.

internal import CUDAKernels

/// A kernel of align.cu and its launch.
public struct AlignLaunch: Sendable, Equatable {
    /// How CTAs work together.
    public enum Team: String, Sendable {
        /// At most 64 pairs; CTAs share the writing.
        case few
        /// CTAs share the writing.
        case alone
        /// One cluster, sharing pairs.
        case cluster
        /// A cooperative grid, sharing pairs.
        case grid
    }

    /// How CTAs work together.
    public var team: Team
    /// Warps in a CTA.
    public var warps: Int
    /// Pairs of a thread.
    public var items: Int
    /// CTAs.
    public var parts: Int

    /// A launch from its parts.
    public init(_ team: Team, warps: Int, items: Int = 1, parts: Int) {
        self.team = team
        self.warps = warps
        self.items = items
        self.parts = parts
    }

    /// The most pairs that any launch aligns on `device`.
    public static func largest(on device: CUDADriver.Device) -> Int { device.multiprocessors * 1024 * 16 }

    /// The launch for `pairs` pairs in `buckets` buckets (experts, and one more when pairs of other ranks take blocks).
    ///
    /// - Throws: `CUDAError.Cause.unsupported` for more than 1024 buckets or too many pairs.
    public init(pairs: Int, buckets: Int, blockSize: Int, on device: CUDADriver.Device) throws(CUDAError) {
        guard buckets <= Self.mostBuckets else {
            throw CUDAError(
                "align \(pairs) pairs", .unsupported("\(buckets) experts; at most \(Self.mostBuckets) on a GPU"))
        }
        if pairs <= 64 {
            self.init(.few, warps: pairs <= 8 ? 8 : pairs <= 16 ? 16 : 32, parts: 1)
            return
        }
        let alone =
            pairs <= 512
            ? AlignLaunch(.alone, warps: 16, parts: 16)
            : AlignLaunch(.alone, warps: 32, items: pairs <= 1024 ? 1 : 2, parts: 16)
        if pairs <= (device.hasClusters ? 1024 : 2048), buckets <= alone.mostBuckets,
            alone.sharedMemory(pairs: pairs, buckets: buckets, blockSize: blockSize) <= device.sharedMemory
        {
            self = alone
        } else if device.hasClusters, pairs <= 16 * 512, buckets <= 1024 {
            self.init(.cluster, warps: 16, parts: pairs <= 8 * 512 ? 8 : 16)
        } else if device.hasClusters, pairs <= 16 * 1024 {
            self.init(.cluster, warps: 32, parts: 16)
        } else {
            let threads = 1024
            guard let items = [1, 2, 4, 8, 16].first(where: { pairs <= device.multiprocessors * threads * $0 }) else {
                throw CUDAError(
                    "align \(pairs) pairs",
                    .unsupported("at most \(Self.largest(on: device)) pairs at once on this GPU"))
            }
            self.init(.grid, warps: 32, items: items, parts: (pairs + threads * items - 1) / (threads * items))
        }
    }

    /// The most buckets that any launch serves.
    public static let mostBuckets = 1024

    /// The most buckets of this launch: two for each thread.
    public var mostBuckets: Int { team == .few ? Self.mostBuckets : min(Self.mostBuckets, warps * 64) }

    /// Constants of align.cu.
    func constants(isPlain: Bool) -> [String] {
        let number = [Team.few: 0, .alone: 1, .cluster: 2, .grid: 3][team] ?? 0
        return [
            "PLAIN=\(isPlain ? 1 : 0)", "TEAM=\(number)", "WARPS=\(warps)", "ITEMS=\(items)",
            "CTAS=\(team == .cluster ? parts : 1)",
        ]
    }

    /// Bytes of dynamic shared memory: `FewTables` and `AlignTables` in align.cuh.
    public func sharedMemory(pairs: Int, buckets: Int, blockSize: Int) -> Int {
        if team == .few { return (64 + buckets) * 4 }
        let half = Self.half(buckets)
        let words =
            8 * half + warps * half + (team == .cluster ? parts * half : 0) + 2 * half + 32
            + max(
                2 * half, team == .grid ? 64 * warps : 0,
                stageRows(pairs: pairs, buckets: buckets, blockSize: blockSize))
        return words * 4
    }

    /// Rows that a CTA which works alone puts together: its share of the buckets may have all pairs.
    func stageRows(pairs: Int, buckets: Int, blockSize: Int) -> Int {
        guard team == .alone else { return 0 }
        return (pairs + (buckets + parts - 1) / parts * (blockSize - 1) + 3) / 4 * 4
    }

    /// Words in a row of packed counts.
    private static func half(_ buckets: Int) -> Int { (buckets + 7) / 8 * 4 }

    /// Words of workspace for launches of any size and rule.
    static func workspace(on device: CUDADriver.Device) -> Int {
        32 + 2 * half(mostBuckets) * (2 + 3 * device.multiprocessors)
    }
}
