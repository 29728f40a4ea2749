// CUDAStream: work in order on a GPU, moments in it, and graphs that repeat it.
//
// Owner: the thread that drives the GPU.

internal import CUDAKernels

/// A queue of work on a GPU.
public final class CUDAStream {
    let handle: UnsafeMutableRawPointer?
    private let isOwned: Bool
    /// What launches that meet over the whole GPU write to, by capture; 0 is work that is not captured.
    private var workspaces: [UInt64: DeviceBuffer<UInt32>] = [:]

    /// A new stream, which does not wait for the default stream.
    public init() throws(CUDAError) {
        var handle: UnsafeMutableRawPointer?
        try check(nv_cuStreamCreate(&handle, 1), "make a stream")
        self.handle = handle
        isOwned = true
    }

    /// Somebody else's stream, such as another library's current one; nil is the default stream.
    public init(borrowing handle: UnsafeMutableRawPointer?) {
        self.handle = handle
        isOwned = false
    }

    deinit { if isOwned { _ = nv_cuStreamDestroy_v2(handle) } }

    /// Returns when all work so far is done; an error of an earlier launch shows here.
    public func synchronize() throws(CUDAError) {
        try check(nv_cuStreamSynchronize(handle), "wait for a stream")
    }

    /// Work from here on waits for `event`.
    public func wait(for event: CUDAEvent) throws(CUDAError) {
        try check(nv_cuStreamWaitEvent(handle, event.handle, 0), "let a stream wait for an event")
    }

    /// Memory that launches of this stream use in turn, zero at first: `AlignLaunch.workspace` words.
    ///
    /// A graph gets its own, since it may be replayed beside this stream's later work; it lives as long as this object.
    func workspace(_ device: CUDADevice) throws(CUDAError) -> DeviceBuffer<UInt32> {
        var (status, capture): (Int32, UInt64) = (0, 0)
        try check(
            nv_cuStreamGetCaptureInfo_v2(handle, &status, &capture, nil, nil, nil), "ask whether a stream is captured")
        if status == 0 { capture = 0 }
        if let known = workspaces[capture] { return known }
        let workspace = try device.prepare { (stream) throws(CUDAError) in
            let workspace = try DeviceBuffer<UInt32>(device, count: AlignLaunch.workspace(on: device.description))
            try workspace.fill(byte: 0, on: stream)
            return workspace
        }
        workspaces[capture] = workspace
        return workspace
    }

    /// Lets this thread make calls that a capture forbids by default, such as taking memory, while `body` runs.
    static func besideCaptures<Result>(_ body: () throws(CUDAError) -> Result) throws(CUDAError) -> Result {
        let relaxed: Int32 = 2
        var mode = relaxed
        try check(nv_cuThreadExchangeStreamCaptureMode(&mode), "prepare beside a capture")
        defer { _ = nv_cuThreadExchangeStreamCaptureMode(&mode) }
        return try body()
    }

    /// Records what `body` enqueues instead of doing it.
    public func capture(_ body: () throws(CUDAError) -> Void) throws(CUDAError) -> CUDAGraph {
        let ofThisThread: Int32 = 1
        try check(nv_cuStreamBeginCapture_v2(handle, ofThisThread), "begin to capture a graph")
        var graph: UnsafeMutableRawPointer?
        do throws(CUDAError) {
            try body()
        } catch {
            _ = nv_cuStreamEndCapture(handle, &graph)
            if let graph { _ = nv_cuGraphDestroy(graph) }
            throw error
        }
        try check(nv_cuStreamEndCapture(handle, &graph), "end the capture of a graph")
        defer { _ = nv_cuGraphDestroy(graph) }
        var executable: UnsafeMutableRawPointer?
        try check(nv_cuGraphInstantiateWithFlags(&executable, graph, 0), "make a captured graph executable")
        return CUDAGraph(handle: executable)
    }
}

/// Captured work that can be repeated with one call.
public final class CUDAGraph {
    private let handle: UnsafeMutableRawPointer?

    fileprivate init(handle: UnsafeMutableRawPointer?) { self.handle = handle }

    deinit { _ = nv_cuGraphExecDestroy(handle) }

    /// Enqueues the work.
    public func launch(on stream: CUDAStream) throws(CUDAError) {
        try check(nv_cuGraphLaunch(handle, stream.handle), "launch a graph")
    }
}

/// A moment in a stream.
public final class CUDAEvent {
    let handle: UnsafeMutableRawPointer?

    /// A new event; with `keepsTime` it can be compared with others, which costs a little.
    public init(keepsTime: Bool = false) throws(CUDAError) {
        var handle: UnsafeMutableRawPointer?
        try check(nv_cuEventCreate(&handle, keepsTime ? 0 : 2), "make an event")
        self.handle = handle
    }

    deinit { _ = nv_cuEventDestroy_v2(handle) }

    /// Stands for the moment when all work of `stream` so far is done.
    public func record(on stream: CUDAStream) throws(CUDAError) {
        try check(nv_cuEventRecord(handle, stream.handle), "record an event")
    }

    /// Whether the moment has come.
    public func hasHappened() throws(CUDAError) -> Bool {
        let status = nv_cuEventQuery(handle)
        let notReady: Int32 = 600
        if status == notReady { return false }
        try check(status, "ask for an event")
        return true
    }

    /// Returns when the moment has come.
    public func wait() throws(CUDAError) {
        try check(nv_cuEventSynchronize(handle), "wait for an event")
    }

    /// Milliseconds since `earlier`; both keep time and have happened.
    public func milliseconds(since earlier: CUDAEvent) throws(CUDAError) -> Float {
        var result: Float = 0
        try check(nv_cuEventElapsedTime(&result, earlier.handle, handle), "measure the time between two events")
        return result
    }
}
