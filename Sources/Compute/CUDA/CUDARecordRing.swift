// CUDARecordRing: the last passes' counts on a GPU, written by the launches that count, copied out when a pass is over.
//
// The number of the running pass lies on the device, so that launches inside a captured graph find their slot; the last
// layer's launch increments it. Nothing of this waits: the host copies a pass's slot while the next passes run, and has as
// many passes' time for it as the ring has slots.

public import CUDAKernels

/// Counts of the last passes, `[slots, layers, experts]`.
public final class CUDARecordRing {
    /// Passes that are kept.
    public let slots: Int
    /// L.
    public let layers: Int
    /// Physical experts.
    public let experts: Int
    /// The counts.
    public let counts: DeviceBuffer<Int32>
    /// The number of the running pass.
    public let pass: DeviceBuffer<UInt32>

    /// An empty ring; the running pass is 0.
    ///
    /// - Parameters:
    ///   - device: where it lies.
    ///   - slots: passes that are kept; a power of two.
    ///   - layers: L.
    ///   - experts: physical experts.
    ///   - stream: clears it.
    /// - Throws: `CUDAError`.
    public init(_ device: CUDADevice, slots: Int, layers: Int, experts: Int, on stream: CUDAStream) throws(CUDAError) {
        precondition(
            slots.nonzeroBitCount == 1 && layers > 0 && experts > 0 && slots * layers * experts <= Int(Int32.max),
            "a ring of \(slots) × \(layers) × \(experts)")
        self.slots = slots
        self.layers = layers
        self.experts = experts
        counts = try DeviceBuffer(device, count: slots * layers * experts)
        pass = try DeviceBuffer(device, count: 1)
        try counts.fill(byte: 0, on: stream)
        try pass.fill(byte: 0, on: stream)
    }

    /// Where the launch of `layer` leaves its counts. The launch of the last layer ends the pass.
    public func row(layer: Int) -> route_record {
        precondition((0..<layers).contains(layer), "layer \(layer) of \(layers)")
        return route_record(
            counts: counts.address, pass: pass.address, mask: UInt32(slots - 1), stride: Int32(layers * experts),
            offset: Int32(layer * experts), advances: layer == layers - 1 ? 1 : 0)
    }

    /// Enqueues a copy of a pass's counts, `[layers, experts]`; it must be over by then in `stream`'s order.
    public func copy(pass: Int, into row: PinnedBuffer<Int32>, on stream: CUDAStream) throws(CUDAError) {
        precondition(row.elements.count == layers * experts, "\(row.elements.count) counts of \(layers) × \(experts)")
        try counts.read(from: pass % slots * layers * experts, into: row, on: stream)
    }
}
