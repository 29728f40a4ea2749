// LaunchFloor: kernels that do nothing, so that a measurement can say what a launch alone costs.

internal import CUDAKernels

/// Kernels of floor.cu.
public enum LaunchFloor: String, Sendable, CaseIterable {
    /// Nothing.
    case empty
    /// Waits for the launch before it.
    case emptyEarly = "empty_early"
    /// As `emptyEarly`, and all CTAs of a cluster meet.
    case cluster = "empty_cluster"
    /// Reads as many words as `pairs`, and writes them.
    case copy = "copy_ids"

    /// Enqueues the kernel.
    ///
    /// - Parameters:
    ///   - device: where it runs.
    ///   - parts: CTAs, of 1024 threads.
    ///   - from: device address of `[pairs]`, read by `copy`.
    ///   - into: device address of `[pairs]`, written by `copy`.
    ///   - pairs: words.
    ///   - stream: where it runs.
    /// - Throws: `CUDAError`.
    public func launch(
        _ device: CUDADevice, parts: Int = 1, from: UInt64 = 0, into: UInt64 = 0, pairs: Int = 0, on stream: CUDAStream
    ) throws(CUDAError) {
        var arguments = align_arguments()
        arguments.ids = from
        arguments.sorted = into
        arguments.pairs = Int32(truncatingIfNeeded: pairs)
        let kernel = try device.kernels.kernel(rawValue, of: KernelSource("floor.cu"), largeClusters: self == .cluster)
        let launch = cuda_launch(
            grid: UInt32(parts), block: 1024, shared_bytes: 0, cluster: self == .cluster ? UInt32(parts) : 0,
            cooperative: false, early: self != .empty && device.startsEarly)
        try kernel.launch(launch, on: stream, arguments)
    }
}
