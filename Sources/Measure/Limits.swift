// Limits: what this machine can do at most, measured in the process that reports its distance from it.

internal import CPUKernels
internal import Compute

/// The machine's limits with `threads` threads.
public struct Limits: Sendable {
    /// Bytes per second that can be read.
    public let readBandwidth: Double
    /// Multiply-adds in float32, two operations each, per second.
    public let peak: Double

    /// Measures both; best of several.
    ///
    /// - Parameters:
    ///   - threads: threads that read and compute at the same time.
    ///   - footprint: bytes that are read again and again; nil for more than any cache holds.
    public init(threads: Int, footprint: Int? = nil) {
        guard let kernels = cpu_kernels_named(nil)?.pointee else {
            readBandwidth = .nan
            peak = .nan
            return
        }
        let pool = WorkerPool(threads: threads)
        let lanes = pool.laneCount
        defer { pool.stop() }
        let items = max(1, (footprint ?? max(lanes << 26, 1 << 27)) / 256 / lanes)
        let count = lanes * (64 * items + 16)
        let floats = UnsafeMutablePointer<Float>.allocate(capacity: count)
        defer { floats.deallocate() }
        floats.update(repeating: 1, count: count)
        // Small footprints are read often, so that a sample is some hundred microseconds.
        let job = Probe(
            kernels: kernels, floats: floats, sinks: floats + lanes * 64 * items, items: items,
            passes: max(1, (1 << 20) / (items * lanes)), rounds: footprint == nil ? 3_000_000 : 300_000)
        var bandwidths: [Double] = []
        var peaks: [Double] = []
        for _ in 0..<5 {
            let reading = seconds {
                withUnsafePointer(to: job) { job in
                    pool.forEachLane(job) { $0.assumingMemoryBound(to: Probe.self).pointee.read(lane: $1) }
                }
            }
            bandwidths.append(Double(job.passes * job.items * lanes * 256) / reading)
            let computing = seconds {
                withUnsafePointer(to: job) { job in
                    pool.forEachLane(job) { $0.assumingMemoryBound(to: Probe.self).pointee.multiplyAdd(lane: $1) }
                }
            }
            peaks.append(Double(kernels.probe_operations * job.rounds * lanes) / computing)
        }
        readBandwidth = bandwidths.max() ?? .nan
        peak = peaks.max() ?? .nan
    }
}

/// What each lane does.
private struct Probe {
    let kernels: cpu_kernels
    let floats: UnsafeMutablePointer<Float>
    let sinks: UnsafeMutablePointer<Float>
    /// 64 floats each, per lane.
    let items: Int
    let passes: Int
    let rounds: Int

    func read(lane: Int) {
        var arguments = cpu_probe_args(floats: floats + lane * 64 * items, sink: sinks + lane * 16)
        for _ in 0..<passes { kernels.probe_read?(&arguments, 0, items) }
    }

    func multiplyAdd(lane: Int) {
        var arguments = cpu_probe_args(floats: floats, sink: sinks + lane * 16)
        kernels.probe_multiply_add?(&arguments, 0, rounds)
    }
}
