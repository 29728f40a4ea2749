// CUDADriver: which NVIDIA GPUs this machine has. The driver is opened at run time.

internal import CUDAKernels

/// The driver of this machine and the GPUs that it offers.
public struct CUDADriver: Sendable, Equatable {
    /// One GPU.
    public struct Device: Sendable, Equatable {
        /// Its number among the GPUs.
        public let ordinal: Int
        /// Its name, such as `NVIDIA H100 80GB HBM3`.
        public let name: String
        /// Bytes of its memory.
        public let memory: Int
        /// Compute capability, 10 * major + minor.
        public let capability: Int
        /// Streaming multiprocessors.
        public let multiprocessors: Int
        /// Bytes of level 2 cache.
        public let cache: Int
        /// The most shared memory that a CTA may ask for, in bytes.
        public let sharedMemory: Int

        /// The target that kernels are compiled for, such as `sm_90a`.
        public var architecture: String { "sm_\(capability)" + (capability >= 90 ? "a" : "") }
        /// Whether CTAs can form clusters with distributed shared memory.
        public var hasClusters: Bool { capability >= 90 }
    }

    /// The GPUs; at least one.
    public let devices: [Device]
    /// Newest CUDA version that the driver supports, such as `13.0`.
    public let version: String

    /// Name of the first GPU.
    public var deviceName: String { devices.first?.name ?? "" }

    /// Opens the driver and asks it for its GPUs.
    ///
    /// - Throws: `CUDAError` saying why there is no usable GPU.
    public init() throws(CUDAError) {
        let doing = "look for a GPU"
        if let reason = cuda_open_driver() { throw CUDAError(doing, .noDevice(String(cString: reason))) }
        var version: Int32 = 0
        try check(nv_cuDriverGetVersion(&version), "ask the driver for its version")
        var count: Int32 = 0
        try check(nv_cuDeviceGetCount(&count), "count the GPUs")
        var devices: [Device] = []
        for ordinal in 0..<count { devices.append(try Self.device(ordinal)) }
        self.devices = devices
        self.version = "\(version / 1000).\(version % 1000 / 10)"
    }

    private static func device(_ ordinal: Int32) throws(CUDAError) -> Device {
        let doing = "describe GPU \(ordinal)"
        var device: Int32 = 0
        try check(nv_cuDeviceGet(&device, ordinal), doing)
        var text = [CChar](repeating: 0, count: 256)
        try check(nv_cuDeviceGetName(&text, Int32(truncatingIfNeeded: text.count), device), doing)
        var memory = 0
        try check(nv_cuDeviceTotalMem_v2(&memory, device), doing)
        func attribute(_ number: Int32) throws(CUDAError) -> Int {
            var value: Int32 = 0
            try check(nv_cuDeviceGetAttribute(&value, number, device), doing)
            return Int(value)
        }
        // Numbers of CUdevice_attribute.
        return Device(
            ordinal: Int(ordinal),
            name: String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self),
            memory: memory, capability: try attribute(75) * 10 + attribute(76), multiprocessors: try attribute(16),
            cache: try attribute(38), sharedMemory: try attribute(97))
    }
}
