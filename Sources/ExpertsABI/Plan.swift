// Plan: placement behind the C interface.
//
// The names are the header's.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

internal import Experts
public import ExpertsHeader

/// A placement of logical experts on physical slots.
@c @implementation
public func switchyard_plan(
    _ request: UnsafePointer<switchyard_plan_request>?, _ message: UnsafeMutablePointer<CChar>?, _ messageSize: Int
) -> Int32 {
    answering(message, messageSize) {
        let request = try require(request, "request").pointee
        let layers = Int(request.layers)
        let experts = Int(request.experts)
        try require(layers > 0 && experts > 0, "a load of \(layers) layers and \(experts) experts")
        let values = try require(request.load, "load")
        let map = try require(request.physical_to_logical, "physical_to_logical")
        let load = try LoadMatrix(
            Array(UnsafeBufferPointer(start: values, count: layers * experts)), layers: layers, experts: experts)
        let shape = PlanShape(
            slots: Int(request.slots), ranks: Int(request.gpus), nodes: Int(request.nodes),
            groups: Int(request.groups))
        let plan =
            request.compatible
            ? try PlacementPlan.compatible(load: load, shape: shape)
            : try PlacementPlan.balanced(load: load, shape: shape)
        plan.placement.physicalToLogical.withUnsafeBufferPointer {
            if let base = $0.baseAddress { map.update(from: base, count: $0.count) }
        }
    }
}
