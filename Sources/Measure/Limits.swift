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
        guard let kernels = cpu_kernels_named(nil)?.pointee, let read = kernels.probe_read,
            let multiplyAdd = kernels.probe_multiply_add
        else {
            readBandwidth = .nan
            peak = .nan
            return
        }
        let pool = WorkerPool(threads: threads)
        defer { pool.stop() }
        let items = max(1, (footprint ?? threads << 27) / 256 / threads)
        let floats = UnsafeMutablePointer<Float>.allocate(capacity: threads * (64 * items + 16))
        defer { floats.deallocate() }
        floats.update(repeating: 1, count: threads * (64 * items + 16))
        let sinks = floats + threads * 64 * items
        // Small footprints are read often, so that a sample is some hundred microseconds.
        let passes = max(1, (1 << 20) / (items * threads))
        let rounds = footprint == nil ? 3_000_000 : 300_000
        var bandwidths: [Double] = []
        var peaks: [Double] = []
        for _ in 0..<5 {
            let reading = seconds {
                pool.forEachLane { lane in
                    var arguments = cpu_probe_args(floats: floats + lane * 64 * items, sink: sinks + lane * 16)
                    for _ in 0..<passes { read(&arguments, 0, items) }
                }
            }
            bandwidths.append(Double(passes * items * threads * 256) / reading)
            let computing = seconds {
                pool.forEachLane { lane in
                    var arguments = cpu_probe_args(floats: floats, sink: sinks + lane * 16)
                    multiplyAdd(&arguments, 0, rounds)
                }
            }
            peaks.append(Double(kernels.probe_operations * rounds * threads) / computing)
        }
        readBandwidth = bandwidths.max() ?? .nan
        peak = peaks.max() ?? .nan
    }
}
