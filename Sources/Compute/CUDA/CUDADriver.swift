// CUDADriver: whether this machine has an NVIDIA GPU. The driver is opened at run time.

internal import CUDAKernels

/// An NVIDIA GPU that the driver offers.
public struct CUDADriver: Sendable, Equatable {
    /// Name of the first GPU.
    public let deviceName: String
    /// GPUs in this machine.
    public let deviceCount: Int
    /// Memory of the first GPU in bytes.
    public let memory: Int
    /// Newest CUDA version that the driver supports, such as `13.0`.
    public let version: String

    /// Opens the driver.
    ///
    /// - Throws: `CUDAError` saying why there is no usable GPU.
    public init() throws(CUDAError) {
        var machine = cuda_machine()
        if let reason = cuda_probe(&machine) { throw CUDAError(description: String(cString: reason)) }
        deviceName = withUnsafeBytes(of: machine.device_name) { name in
            String(decoding: name.prefix { $0 != 0 }, as: UTF8.self)
        }
        deviceCount = Int(machine.device_count)
        memory = Int(machine.device_memory)
        version = "\(machine.driver_version / 1000).\(machine.driver_version % 1000 / 10)"
    }
}

/// Why a GPU cannot be used.
public struct CUDAError: Error, Equatable, CustomStringConvertible {
    /// The reason in one line.
    public var description: String
}
