// CUDAMemory: memory of a GPU, kept and given out again, and memory of the host that a GPU can read.
//
// Method: sizes are rounded to powers of two below 1 MiB and to multiples of 1 MiB above; what is given back is kept by its
//         size. When the GPU has no more, what is kept goes back to the driver before a second try.
// Note: memory given back may still be used by work that is enqueued; work of one stream sees it in order. Who shares memory
//       among streams keeps it until they are done.

internal import CUDAKernels

/// The caching allocator of one device.
final class DeviceMemory {
    private var kept: [Int: [UInt64]] = [:]

    /// The bytes that a request takes.
    static func rounded(_ byteCount: Int) -> Int {
        let unit = 1 << 20
        if byteCount >= unit { return (byteCount + unit - 1) / unit * unit }
        var size = 512
        while size < byteCount { size *= 2 }
        return size
    }

    func take(_ byteCount: Int) throws(CUDAError) -> UInt64 {
        let size = Self.rounded(byteCount)
        if let address = kept[size]?.popLast() { return address }
        var address: UInt64 = 0
        let outOfMemory: Int32 = 2
        var status = nv_cuMemAlloc_v2(&address, size)
        if status == outOfMemory {
            release()
            status = nv_cuMemAlloc_v2(&address, size)
        }
        if status == outOfMemory {
            var (free, total) = (0, 0)
            _ = nv_cuMemGetInfo_v2(&free, &total)
            throw CUDAError("take GPU memory", .outOfMemory(needed: size, available: free))
        }
        try check(status, "take \(size) bytes of GPU memory")
        return address
    }

    func giveBack(_ address: UInt64, _ byteCount: Int) {
        kept[Self.rounded(byteCount), default: []].append(address)
    }

    /// Gives what is kept to the driver.
    func release() {
        for address in kept.values.joined() { _ = nv_cuMemFree_v2(address) }
        kept = [:]
    }
}

/// Memory of a GPU, uninitialised until written; goes back to its device's allocator with its last owner.
public final class DeviceBuffer<Element: BitwiseCopyable> {
    /// Address on the device.
    public let address: UInt64
    /// Elements.
    public let count: Int
    private let device: CUDADevice

    /// Takes memory for `count` elements.
    public init(_ device: CUDADevice, count: Int) throws(CUDAError) {
        address = try device.memory.take(count * MemoryLayout<Element>.stride)
        self.count = count
        self.device = device
    }

    deinit { device.memory.giveBack(address, count * MemoryLayout<Element>.stride) }

    /// Copies `values` to the device.
    ///
    /// The copy is enqueued, and from ordinary memory done when this returns; from a `PinnedBuffer` it is not.
    public func write(_ values: UnsafeBufferPointer<Element>, on stream: CUDAStream) throws(CUDAError) {
        precondition(values.count <= count, "\(values.count) elements into room for \(count)")
        guard let base = values.baseAddress else { return }
        let bytes = values.count * MemoryLayout<Element>.stride
        try check(nv_cuMemcpyHtoDAsync_v2(address, base, bytes, stream.handle), "copy \(bytes) bytes to the GPU")
    }

    /// Copies an array to the device.
    public func write(_ values: [Element], on stream: CUDAStream) throws(CUDAError) {
        try values.withUnsafeBufferPointer { buffer throws(CUDAError) in try write(buffer, on: stream) }
    }

    /// Enqueues a copy of elements from `first` on to pinned memory, as many as fit there.
    public func read(from first: Int = 0, into values: PinnedBuffer<Element>, on stream: CUDAStream) throws(CUDAError) {
        precondition(first + values.elements.count <= count, "\(values.elements.count) from \(first) of \(count)")
        let stride = MemoryLayout<Element>.stride
        let status = nv_cuMemcpyDtoHAsync_v2(
            values.elements.baseAddress, address + UInt64(first * stride), values.elements.count * stride, stream.handle
        )
        try check(status, "copy \(values.elements.count * stride) bytes from the GPU")
    }

    /// The contents, after all work of `stream` so far.
    public func contents(on stream: CUDAStream) throws(CUDAError) -> [Element] {
        var status: Int32 = 0
        let values = [Element](unsafeUninitializedCapacity: count) { buffer, filled in
            let bytes = count * MemoryLayout<Element>.stride
            status = nv_cuMemcpyDtoHAsync_v2(buffer.baseAddress, address, bytes, stream.handle)
            if status == 0 { status = nv_cuStreamSynchronize(stream.handle) }
            filled = status == 0 ? count : 0
        }
        try check(status, "copy \(count * MemoryLayout<Element>.stride) bytes from the GPU")
        return values
    }

    /// Sets every byte.
    public func fill(byte: UInt8, on stream: CUDAStream) throws(CUDAError) {
        let bytes = count * MemoryLayout<Element>.stride
        try check(nv_cuMemsetD8Async(address, byte, bytes, stream.handle), "fill \(bytes) bytes of GPU memory")
    }
}

/// Memory of the host that a GPU copies to and from without waiting for the host.
public final class PinnedBuffer<Element: BitwiseCopyable> {
    /// The memory; valid while this object lives.
    public let elements: UnsafeMutableBufferPointer<Element>

    /// Takes pinned memory for `count` elements, uninitialised.
    public init(count: Int) throws(CUDAError) {
        var memory: UnsafeMutableRawPointer?
        let bytes = max(1, count * MemoryLayout<Element>.stride)
        try check(nv_cuMemHostAlloc(&memory, bytes, 0), "pin \(bytes) bytes of memory")
        elements = UnsafeMutableBufferPointer(
            start: memory?.bindMemory(to: Element.self, capacity: count), count: count)
    }

    deinit { _ = nv_cuMemFreeHost(elements.baseAddress) }
}
