// Align: block alignment behind the C interface.
//
// The names are the header's.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

internal import Experts
public import ExpertsHeader

/// What a `switchyard_workspace` points to.
final class Workspace {
    let alignment = BlockAlignment()
    /// 64-bit ids as the 32-bit ids that they must be.
    var narrowed: [Int32] = []
}

/// The version that the library was built with.
@c @implementation
public func switchyard_experts_version() -> Int32 { SWITCHYARD_EXPERTS_VERSION }

/// Reusable memory of `switchyard_align`.
@c @implementation
public func switchyard_workspace_create() -> switchyard_workspace? {
    Unmanaged.passRetained(Workspace()).toOpaque()
}

/// Frees a workspace.
@c @implementation
public func switchyard_workspace_destroy(_ workspace: switchyard_workspace?) {
    if let workspace { Unmanaged<Workspace>.fromOpaque(workspace).release() }
}

/// Block alignment.
@c @implementation
public func switchyard_align(
    _ workspace: switchyard_workspace?, _ request: UnsafePointer<switchyard_align_request>?,
    _ paddedCount: UnsafeMutablePointer<Int32>?, _ message: UnsafeMutablePointer<CChar>?, _ messageSize: Int
) -> Int32 {
    answering(message, messageSize) {
        let handle = try require(workspace, "workspace")
        let workspace = Unmanaged<Workspace>.fromOpaque(handle).takeUnretainedValue()
        let request = try require(request, "request").pointee
        let padded = try require(paddedCount, "padded_count")
        let experts = Int(request.experts)
        try require(
            request.count >= 0 && request.sorted_capacity >= 0 && request.block_capacity >= 0, "a negative count")
        try require(request.count == 0 || request.ids != nil, "ids is NULL")
        let map = try request.expert_map.map {
            try BlockRule.ExpertMap(Array(UnsafeBufferPointer(start: $0, count: max(0, experts))))
        }
        let rule = try BlockRule(
            experts: experts, blockSize: Int(request.block_size), map: map,
            foreign: request.drop_foreign ? .dropped : .ownBlocks)
        let output = BlockAlignment.Output(
            sortedPairs: UnsafeMutableBufferPointer(
                start: request.sorted_pairs, count: request.sorted_pairs == nil ? 0 : Int(request.sorted_capacity)),
            blockExperts: UnsafeMutableBufferPointer(
                start: request.block_experts, count: request.block_experts == nil ? 0 : Int(request.block_capacity)))
        func run(_ ids: UnsafeBufferPointer<Int32>) throws(RoutingError) {
            try workspace.alignment.align(rule, ids: ids, countsInto: request.counts, into: output)
        }
        switch request.id_bytes {
        case 4:
            let ids = request.ids?.assumingMemoryBound(to: Int32.self)
            try run(UnsafeBufferPointer(start: ids, count: ids == nil ? 0 : Int(request.count)))
        case 8:
            let ids = request.ids?.assumingMemoryBound(to: Int64.self)
            let wide = UnsafeBufferPointer(start: ids, count: ids == nil ? 0 : Int(request.count))
            if let position = wide.firstIndex(where: { $0 < -1 || $0 >= experts }) {
                throw BadRequest(
                    "expert id \(wide[position]) at position \(position): expected 0 ..< \(experts), "
                        + "or -1 for a padded pair")
            }
            workspace.narrowed.removeAll(keepingCapacity: true)
            workspace.narrowed.append(contentsOf: wide.lazy.map { Int32(truncatingIfNeeded: $0) })
            try workspace.narrowed.withUnsafeBufferPointer(run)
        default: throw BadRequest("ids of \(request.id_bytes) bytes: expected 4 or 8")
        }
        workspace.alignment.fillTail()
        padded.pointee = Int32(truncatingIfNeeded: workspace.alignment.paddedCount)
    }
}
