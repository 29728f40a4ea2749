// Align: block alignment on a GPU behind the C interface.
//
// The names are the header's.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

internal import Compute
internal import Experts
public import ExpertsHeader

/// What a `switchyard_cuda_alignment` points to.
final class Alignment {
    let device: Device
    let alignment: CUDAAlignment

    init(_ device: Device, _ rule: BlockRule) throws(CUDAError) {
        self.device = device
        alignment = try device.drive { () throws(CUDAError) in
            try device.gpu.prepare { (stream) throws(CUDAError) in
                try CUDAAlignment(device.gpu, rule: rule, on: stream)
            }
        }
    }
}

/// How pairs become blocks.
@c @implementation
public func switchyard_cuda_alignment_create(
    _ device: switchyard_cuda_device?, _ experts: Int32, _ blockSize: Int32, _ dropForeign: Bool,
    _ expertMap: UnsafePointer<Int32>?, _ alignment: UnsafeMutablePointer<switchyard_cuda_alignment?>?,
    _ message: UnsafeMutablePointer<CChar>?, _ messageSize: Int
) -> Int32 {
    answering(message, messageSize) {
        guard let alignment else { throw BadRequest("alignment is NULL") }
        let device: Device = try object(device, "device")
        let map = try expertMap.map {
            try BlockRule.ExpertMap(Array(UnsafeBufferPointer(start: $0, count: max(0, Int(experts)))))
        }
        let rule = try BlockRule(
            experts: Int(experts), blockSize: Int(blockSize), map: map, foreign: dropForeign ? .dropped : .ownBlocks)
        alignment.pointee = handle(try Alignment(device, rule))
    }
}

/// Block alignment.
@c @implementation
public func switchyard_cuda_align(
    _ alignment: switchyard_cuda_alignment?, _ stream: UnsafeMutableRawPointer?, _ ids: UInt64, _ count: Int64,
    _ sortedPairs: UInt64, _ sortedCapacity: Int64, _ blockExperts: UInt64, _ blockCapacity: Int64,
    _ paddedCount: UInt64, _ message: UnsafeMutablePointer<CChar>?, _ messageSize: Int
) -> Int32 {
    answering(message, messageSize) {
        let handle: Alignment = try object(alignment, "alignment")
        let most = Int64(Int32.max)
        guard (0...most).contains(count), (0...most).contains(sortedCapacity), (0...most).contains(blockCapacity) else {
            throw BadRequest("\(count) ids, room for \(sortedCapacity) rows: expected 0 to \(most)")
        }
        let blocks = BlockMemory(
            sortedPairs: sortedPairs, blockExperts: blockExperts, paddedCount: paddedCount,
            capacity: Int(sortedCapacity), blockCapacity: Int(blockCapacity))
        try handle.device.drive { () throws(CUDAError) in
            try handle.alignment.align(
                ids: ids, pairs: Int(count), into: blocks, fillTail: true, on: handle.device.stream(stream))
        }
    }
}
