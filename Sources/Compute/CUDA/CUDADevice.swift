// CUDADevice: one GPU that this process uses: its context, its memory, its kernels.
//
// Owner: the thread that drives the GPU. Another thread calls `activate` before it touches anything of this device.
// Not thread-safe.

internal import CUDAKernels

/// A GPU in use.
public final class CUDADevice {
    /// What it is.
    public let description: CUDADriver.Device
    /// Compiled kernels.
    public let kernels: KernelCache
    /// Whether small kernels may begin while the launch before them still runs; they wait for its results themselves.
    public var startsEarly: Bool
    let memory = DeviceMemory()

    private let context: UnsafeMutableRawPointer?
    private let device: Int32

    /// Takes a GPU into use, with the context that other libraries of this process use too.
    ///
    /// - Parameters:
    ///   - ordinal: its number.
    ///   - kernelFolder: where compiled kernels are kept; nil for the user's cache folder.
    /// - Throws: `CUDAError`.
    public init(_ ordinal: Int = 0, kernelFolder: String? = nil) throws(CUDAError) {
        let driver = try CUDADriver()
        guard driver.devices.indices.contains(ordinal) else {
            throw CUDAError("use GPU \(ordinal)", .noDevice("this machine has GPUs 0 ..< \(driver.devices.count)"))
        }
        description = driver.devices[ordinal]
        var device: Int32 = 0
        try check(nv_cuDeviceGet(&device, Int32(truncatingIfNeeded: ordinal)), "use GPU \(ordinal)")
        var context: UnsafeMutableRawPointer?
        try check(nv_cuDevicePrimaryCtxRetain(&context, device), "open a context on GPU \(ordinal)")
        self.device = device
        self.context = context
        startsEarly = description.capability >= 90
        kernels = KernelCache(architecture: description.architecture, folder: kernelFolder)
        try activate()
    }

    deinit {
        _ = nv_cuCtxSetCurrent(context)
        kernels.unload()
        memory.release()
        _ = nv_cuDevicePrimaryCtxRelease_v2(device)
    }

    /// Makes this device the one that calls of this thread mean.
    public func activate() throws(CUDAError) {
        try check(nv_cuCtxSetCurrent(context), "use GPU \(description.ordinal) on this thread")
    }

    /// Runs `body`, then gives this thread back the context that it had: for threads that another library drives too.
    ///
    /// - Parameter body: may activate any device.
    /// - Returns: what `body` returns.
    /// - Throws: what `body` throws; `CUDAError`.
    public static func keepingContext<Result>(_ body: () throws(CUDAError) -> Result) throws(CUDAError) -> Result {
        var before: UnsafeMutableRawPointer?
        try check(nv_cuCtxGetCurrent(&before), "ask for this thread's context")
        defer { _ = nv_cuCtxSetCurrent(before) }
        return try body()
    }

    /// Runs `body` with a stream of its own and waits for what it enqueues there; what it fills is ready for every stream.
    ///
    /// Streams that are being captured do not notice.
    ///
    /// - Parameter body: fills memory that lasts.
    /// - Returns: what `body` returns.
    /// - Throws: what `body` throws; `CUDAError`.
    public func prepare<Result>(_ body: (CUDAStream) throws(CUDAError) -> Result) throws(CUDAError) -> Result {
        try CUDAStream.besideCaptures { () throws(CUDAError) in
            let stream = try CUDAStream()
            let result = try body(stream)
            try stream.synchronize()
            return result
        }
    }

    /// Bytes that nobody has taken.
    public func freeMemory() throws(CUDAError) -> Int {
        var (free, total) = (0, 0)
        try check(nv_cuMemGetInfo_v2(&free, &total), "ask GPU \(description.ordinal) for its free memory")
        return free
    }
}
