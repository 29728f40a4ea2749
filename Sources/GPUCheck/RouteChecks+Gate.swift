// RouteChecks: gating and dispatch, with odd logits among the rows.

import Compute
import Experts

extension RouteChecks {
    struct GateProblem {
        var rule: GateRule
        var topK: Int
        var experts: Int
        var bias: [Float]?
    }

    func randomGate() -> GateProblem {
        let experts =
            Bool.random(using: &random)
            ? [8, 60, 64, 128, 160, 256, 384, 512].randomElement(using: &random) ?? 8
            : Int.random(in: 2...512, using: &random)
        var groups: GateRule.Groups?
        if Bool.random(using: &random) {
            let counts = (1...32).filter { experts % $0 == 0 }
            let count = counts.randomElement(using: &random) ?? 1
            groups = GateRule.Groups(count: count, kept: Int.random(in: 1...count, using: &random))
        }
        var bias: [Float]?
        if Bool.random(using: &random) {
            bias = (0..<experts).map { _ in random.normal() * 0.3 }
            if Bool.random(using: &random) {
                bias?[Int.random(in: 0..<experts, using: &random)] = [.nan, .infinity, -.infinity].randomElement() ?? 0
            }
        }
        let shared = Int.random(in: 0...2, using: &random)
        return GateProblem(
            rule: GateRule(
                scoring: Bool.random(using: &random) ? .softmax : .sigmoid, renormalize: Bool.random(using: &random),
                groups: groups, scale: Bool.random(using: &random) ? 1 : 2.5,
                shared: shared > 0 ? GateRule.SharedExperts(copies: shared, weight: 0.4) : nil),
            topK: Int.random(in: 1...min(16, experts), using: &random), experts: experts, bias: bias)
    }

    /// The oracle's choice.
    func choose(
        _ problem: GateProblem, logits: [Float], realTokens: Int?, dispatch: Dispatch?, layer: Int
    ) -> (ids: [Int32], weights: [Float]) {
        let count = logits.count / problem.experts * problem.rule.columns(topK: problem.topK)
        var ids = [Int32](repeating: 0, count: count)
        var weights = [Float](repeating: 0, count: count)
        var scratch = [Float](repeating: 0, count: problem.rule.scratchCount(experts: problem.experts))
        func run(_ row: DispatchRow?) {
            logits.withUnsafeBufferPointer { logits in
                weights.withUnsafeMutableBufferPointer { weights in
                    ids.withUnsafeMutableBufferPointer { ids in
                        scratch.withUnsafeMutableBufferPointer { scratch in
                            (problem.bias ?? []).withUnsafeBufferPointer { bias in
                                selectExperts(
                                    problem.rule, topK: problem.topK, logits: logits, experts: problem.experts,
                                    bias: problem.bias == nil ? nil : bias, realTokens: realTokens, dispatch: row,
                                    weights: weights, ids: ids, scratch: scratch)
                            }
                        }
                    }
                }
            }
        }
        if let dispatch { dispatch.withRow(layer: layer) { run($0) } } else { run(nil) }
        return (ids, weights)
    }

    func dispatch(experts: Int) throws -> Dispatch? {
        let kind = Int.random(in: 0..<4, using: &random)
        guard kind > 0 else { return nil }
        let layers = 2
        let placement = try random.placement(
            layers: layers, experts: experts, redundant: Int.random(in: 0...16, using: &random))
        switch kind {
        case 1: return Dispatch(dynamic: placement)
        case 2:
            let slots = (0..<layers).flatMap { layer in
                (0..<experts).map { placement.replicas(layer: layer, expert: $0).randomElement(using: &random) ?? 0 }
            }
            return try Dispatch(static: placement, slots: slots)
        default:
            let weights = (0..<layers * placement.physicalExperts).map { _ in Float.random(in: 0.1...1, using: &random)
            }
            return try Dispatch(weighted: placement, weights: weights)
        }
    }

    func gates() throws {
        for _ in 0..<(areFew ? 6 : 80) {
            let problem = randomGate()
            let gate = try CUDAGate(
                device, rule: problem.rule, topK: problem.topK, experts: problem.experts, bias: problem.bias, on: stream
            )
            for tokens in [1, 5, Int.random(in: 6...600, using: &random)] {
                try self.gate(gate, problem, tokens: tokens, bfloat: false)
            }
            for lanes in gate.lanesPerRow {
                try self.gate(
                    gate, problem, tokens: Int.random(in: 1...99, using: &random), bfloat: false, lanes: lanes)
            }
        }
        for _ in 0..<(areFew ? 1 : 6) {
            let problem = randomGate()
            let gate = try CUDAGate(
                device, rule: problem.rule, topK: problem.topK, experts: problem.experts, bias: problem.bias,
                logits: .bfloat16, on: stream)
            for lanes in gate.lanesPerRow { try self.gate(gate, problem, tokens: 77, bfloat: true, lanes: lanes) }
        }
    }

    func gate(_ gate: CUDAGate, _ problem: GateProblem, tokens: Int, bfloat: Bool, lanes: Int? = nil) throws {
        var logits = random.logits(tokens: tokens, experts: problem.experts)
        let halves = logits.map { UInt16(truncatingIfNeeded: $0.bitPattern >> 16) }
        if bfloat { logits = halves.map { Float(bitPattern: UInt32($0) << 16) } }
        let table = try dispatch(experts: problem.experts)
        let real = Bool.random(using: &random) ? Int.random(in: 0...tokens, using: &random) : nil
        let expected = choose(problem, logits: logits, realTokens: real, dispatch: table, layer: 1)

        // Some begin where no vector can.
        let shift = Int.random(in: 0..<4, using: &random) == 0 ? 1 : 0
        let input = try DeviceBuffer<Float>(device, count: shift + logits.count)
        let halfInput = try DeviceBuffer<UInt16>(device, count: shift + logits.count)
        if bfloat {
            try halfInput.write([UInt16](repeating: 0, count: shift) + halves, on: stream)
        } else {
            try input.write([Float](repeating: 0, count: shift) + logits, on: stream)
        }
        let address = bfloat ? halfInput.address + UInt64(2 * shift) : input.address + UInt64(4 * shift)
        let ids = try DeviceBuffer<Int32>(device, count: expected.ids.count)
        let weights = try DeviceBuffer<Float>(device, count: expected.ids.count)
        try ids.fill(byte: Self.poison, on: stream)
        try weights.fill(byte: Self.poison, on: stream)
        let realTokens = try DeviceBuffer<Int32>(device, count: 1)
        if let real { try realTokens.write([Int32(real)], on: stream) }
        let tables = try table.map { try CUDADispatch(device, $0, on: stream) }
        try gate.choose(
            logits: address, tokens: tokens, weights: weights.address, ids: ids.address,
            realTokens: real == nil ? 0 : realTokens.address, dispatch: tables?.row(layer: 1),
            lanes: lanes, on: stream)
        try compare(
            ids, weights, expected, logits: logits, problem,
            "gate \(problem.rule), top \(problem.topK) of \(problem.experts), bias \(problem.bias != nil), \(tokens) tokens, "
                + "\(lanes.map { "\($0)" } ?? "usual") lanes a row"
        )
    }

    func compare(
        _ ids: DeviceBuffer<Int32>, _ weights: DeviceBuffer<Float>, _ expected: (ids: [Int32], weights: [Float]),
        logits: [Float], _ problem: GateProblem, _ name: String
    ) throws {
        let columns = problem.rule.columns(topK: problem.topK)
        let found = try ids.contents(on: stream)
        let wrong = zip(found, expected.ids).enumerated().first { $0.element.0 != $0.element.1 }
        expect(
            wrong == nil,
            "\(name): id \(wrong.map { "\($0.offset % columns) of row \($0.offset / columns): \($0.element)" } ?? "")")
        let values = try weights.contents(on: stream)
        // NaN may have another payload.
        let off = zip(values, expected.weights).enumerated().first {
            $0.element.0.bitPattern != $0.element.1.bitPattern && !($0.element.0.isNaN && $0.element.1.isNaN)
        }
        expect(
            off == nil,
            "\(name): weight \(off.map { "\($0.offset % columns) of row \($0.offset / columns): \($0.element)" } ?? "")"
        )
    }
}
