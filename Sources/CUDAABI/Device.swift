// Device: a GPU behind the C interface.
//
// The names are the header's.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

internal import Compute
public import ExpertsHeader

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// A GPU that callers' threads share; one of them drives it at a time.
final class Device {
    let gpu: CUDADevice
    private var streams: [UnsafeMutableRawPointer?: CUDAStream] = [:]
    /// A `Mutex` would let only what is Sendable out. Never freed: nor is the device.
    private let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)

    init(_ ordinal: Int) throws(CUDAError) {
        // Opens the driver.
        _ = try CUDADriver()
        gpu = try CUDADevice.keepingContext { () throws(CUDAError) in try CUDADevice(ordinal) }
        pthread_mutex_init(lock, nil)
    }

    /// Runs `body` with this device's context on this thread.
    func drive<Result>(_ body: () throws(CUDAError) -> Result) throws(CUDAError) -> Result {
        pthread_mutex_lock(lock)
        defer { pthread_mutex_unlock(lock) }
        return try CUDADevice.keepingContext { () throws(CUDAError) in
            try gpu.activate()
            return try body()
        }
    }

    /// The caller's stream; inside of `drive`.
    func stream(_ handle: UnsafeMutableRawPointer?) -> CUDAStream {
        if let known = streams[handle] { return known }
        let stream = CUDAStream(borrowing: handle)
        streams[handle] = stream
        return stream
    }
}

/// The version that the library was built with.
@c @implementation
public func switchyard_cuda_version() -> Int32 { SWITCHYARD_CUDA_VERSION }

/// Takes a GPU into use.
@c @implementation
public func switchyard_cuda_open(
    _ ordinal: Int32, _ nvrtc: UnsafePointer<CChar>?, _ device: UnsafeMutablePointer<switchyard_cuda_device?>?,
    _ message: UnsafeMutablePointer<CChar>?, _ messageSize: Int
) -> Int32 {
    answering(message, messageSize) {
        guard let device else { throw BadRequest("device is NULL") }
        let opened = try Device(Int(ordinal))
        try KernelCompiler.open(nvrtc.map { String(cString: $0) })
        device.pointee = handle(opened)
    }
}
