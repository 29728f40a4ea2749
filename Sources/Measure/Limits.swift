// Limits: what this machine can do at most, measured in the process that reports its distance from it.

internal import CPUKernels
public import Compute

/// The machine's limits with `threads` threads.
public struct Limits: Sendable {
    /// Bytes per second that can be read.
    public let readBandwidth: Double
    /// Multiply-adds, two operations each, per second.
    public let peak: Double

    /// Measures both; best of several.
    ///
    /// - Parameters:
    ///   - threads: threads that read and compute at the same time.
    ///   - footprint: bytes that are read again and again; nil for more than any cache holds.
    public init(threads: Int, footprint: Int? = nil) {
        let probe = LimitProbe(threads: threads, footprint: footprint)
        defer { probe.stop() }
        var (bandwidths, peaks): ([Double], [Double]) = ([], [])
        for _ in 0..<5 {
            bandwidths.append(probe.readBandwidth())
            peaks.append(probe.peak())
        }
        readBandwidth = bandwidths.max() ?? .nan
        peak = peaks.max() ?? .nan
    }
}

/// Measures the limits again and again, for those who alternate them with what they limit.
public final class LimitProbe {
    private let pool: WorkerPool
    private let memory: Storage
    private let kernels: cpu_kernels?
    private let job: Probe

    /// A probe.
    ///
    /// - Parameters:
    ///   - threads: threads that read and compute at the same time.
    ///   - footprint: bytes that are read again and again, from pages like those of weights; nil for more than any cache
    ///     holds.
    ///   - precision: of the products that are limited: float32, or bfloat16 for what is not `stored`.
    public init(threads: Int, footprint: Int? = nil, precision: WeightPrecision = .stored) {
        pool = WorkerPool(threads: threads)
        kernels = cpu_kernels_named(nil)?.pointee
        let lanes = pool.laneCount
        let items = max(1, (footprint ?? max(lanes << 26, 1 << 27)) / 256 / lanes)
        let count = lanes * (64 * items + 16)
        memory = Storage(byteCount: count * MemoryLayout<Float>.stride)
        let floats = memory.bytes.bindMemory(to: Float.self)
        floats.initialize(repeating: 1)
        // Small footprints are read often, so that a sample is some hundred microseconds.
        job = Probe(
            kernels: kernels, floats: floats.baseAddress, items: items, lanes: lanes,
            passes: max(1, (1 << 20) / (items * lanes)), rounds: footprint == nil ? 3_000_000 : 300_000,
            multipliesPairs: precision != .stored && kernels?.probe_pairs != nil)
    }

    /// Bytes read per second.
    public func readBandwidth() -> Double {
        let time = seconds {
            withUnsafePointer(to: job) { job in
                pool.forEachLane(job) { $0.assumingMemoryBound(to: Probe.self).pointee.read(lane: $1) }
            }
        }
        return Double(job.passes * job.items * job.lanes * 256) / time
    }

    /// Floating-point operations per second.
    public func peak() -> Double {
        let time = seconds {
            withUnsafePointer(to: job) { job in
                pool.forEachLane(job) { $0.assumingMemoryBound(to: Probe.self).pointee.compute(lane: $1) }
            }
        }
        let operations = (kernels?.probe_operations ?? 0) * (job.multipliesPairs ? 2 : 1)
        return Double(operations * job.rounds * job.lanes) / time
    }

    /// Ends the threads.
    public func stop() { pool.stop() }
}

/// What each lane does.
private struct Probe {
    let kernels: cpu_kernels?
    let floats: UnsafeMutablePointer<Float>?
    /// 64 floats each, per lane.
    let items: Int
    let lanes: Int
    let passes: Int
    let rounds: Int
    /// Of bfloat16, instead of single floats.
    let multipliesPairs: Bool

    private func arguments(_ lane: Int) -> cpu_probe_args {
        cpu_probe_args(
            floats: floats.map { $0 + lane * 64 * items }, sink: floats.map { $0 + (lanes * 4 * items + lane) * 16 })
    }

    func read(lane: Int) {
        var arguments = arguments(lane)
        for _ in 0..<passes { kernels?.probe_read?(&arguments, 0, items) }
    }

    func compute(lane: Int) {
        var arguments = arguments(lane)
        (multipliesPairs ? kernels?.probe_pairs : kernels?.probe_multiply_add)?(&arguments, 0, rounds)
    }
}
