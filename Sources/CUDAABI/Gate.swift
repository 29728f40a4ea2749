// Gate: gating on a GPU behind the C interface.
//
// The names are the header's.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

internal import Compute
internal import Experts
public import ExpertsHeader

/// What a `switchyard_cuda_gate` points to.
final class Gate {
    let device: Device
    let gate: CUDAGate
    let takesBias: Bool

    init(_ device: Device, _ request: switchyard_cuda_gate_rule) throws {
        var rule = GateRule(
            scoring: request.sigmoid ? .sigmoid : .softmax, renormalize: request.renormalize, scale: request.scale)
        if request.groups != 0 {
            let count = Int(request.groups)
            let kept = Int(request.groups_kept)
            guard count > 0, (1...count).contains(kept) else {
                throw BadRequest("\(kept) of \(count) groups: expected 1 to all of them to be kept")
            }
            rule.groups = GateRule.Groups(count: count, kept: kept)
        }
        guard (0...1 << 24).contains(request.shared_copies) else {
            throw BadRequest("\(request.shared_copies) copies of the shared expert")
        }
        if request.shared_copies > 0 {
            rule.shared = GateRule.SharedExperts(copies: Int(request.shared_copies), weight: request.shared_weight)
        }
        guard let logits = LogitType(rawValue: Int(request.logit_type)) else {
            throw BadRequest("logits of type \(request.logit_type): expected 0, 1 or 2")
        }
        self.device = device
        let takesBias = request.has_bias
        self.takesBias = takesBias
        gate = try device.drive { () throws(CUDAError) in
            try device.gpu.prepare { (stream) throws(CUDAError) in
                try CUDAGate(
                    device.gpu, rule: rule, topK: Int(request.top_k), experts: Int(request.experts),
                    takesBias: takesBias, logits: logits, on: stream)
            }
        }
    }
}

/// A gate.
@c @implementation
public func switchyard_cuda_gate_create(
    _ device: switchyard_cuda_device?, _ rule: UnsafePointer<switchyard_cuda_gate_rule>?,
    _ gate: UnsafeMutablePointer<switchyard_cuda_gate?>?, _ message: UnsafeMutablePointer<CChar>?, _ messageSize: Int
) -> Int32 {
    answering(message, messageSize) {
        guard let gate, let rule else { throw BadRequest("gate or rule is NULL") }
        gate.pointee = handle(try Gate(try object(device, "device"), rule.pointee))
    }
}

/// Gating.
@c @implementation
public func switchyard_cuda_choose(
    _ gate: switchyard_cuda_gate?, _ stream: UnsafeMutableRawPointer?, _ logits: UInt64, _ tokens: Int64,
    _ bias: UInt64, _ realTokens: UInt64, _ weights: UInt64, _ ids: UInt64, _ message: UnsafeMutablePointer<CChar>?,
    _ messageSize: Int
) -> Int32 {
    answering(message, messageSize) {
        let handle: Gate = try object(gate, "gate")
        guard (0...Int64(Int32.max)).contains(tokens) else { throw BadRequest("\(tokens) tokens") }
        guard (bias != 0) == handle.takesBias else { throw BadRequest("bias: expected with a rule that has one, only") }
        try handle.device.drive { () throws(CUDAError) in
            try handle.gate.choose(
                logits: logits, tokens: Int(tokens), weights: weights, ids: ids, realTokens: realTokens, bias: bias,
                on: handle.device.stream(stream))
        }
    }
}
