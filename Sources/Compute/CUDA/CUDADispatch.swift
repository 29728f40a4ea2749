// CUDADispatch: the tables of a Dispatch on a GPU.

public import Experts

/// From logical to physical experts, for every layer of a placement.
public final class CUDADispatch {
    /// One layer's tables.
    public struct Row {
        var starts: UInt64
        var slots: UInt64
        var shares: UInt64
        var physicalExperts: Int
    }

    private let experts: Int
    private let physicalExperts: Int
    private let starts: DeviceBuffer<Int32>
    private let slots: DeviceBuffer<Int32>
    private let shares: DeviceBuffer<UInt32>?

    /// Copies the tables of `dispatch`.
    public init(_ device: CUDADevice, _ dispatch: Dispatch, on stream: CUDAStream) throws(CUDAError) {
        let tables = dispatch.tables
        experts = dispatch.placement.logicalExperts
        physicalExperts = dispatch.placement.physicalExperts
        starts = try DeviceBuffer(device, count: tables.starts.count)
        try starts.write(tables.starts, on: stream)
        slots = try DeviceBuffer(device, count: tables.slots.count)
        try slots.write(tables.slots, on: stream)
        if let values = tables.shares {
            let shares = try DeviceBuffer<UInt32>(device, count: values.count)
            try shares.write(values, on: stream)
            self.shares = shares
        } else {
            shares = nil
        }
    }

    /// The tables of one layer.
    public func row(layer: Int) -> Row {
        precondition(layer >= 0 && (layer + 1) * experts < starts.count, "layer \(layer)")
        return Row(
            starts: starts.address + UInt64(layer * experts * MemoryLayout<Int32>.stride), slots: slots.address,
            shares: shares?.address ?? 0, physicalExperts: physicalExperts)
    }
}
