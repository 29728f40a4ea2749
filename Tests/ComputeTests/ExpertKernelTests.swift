import Experts
import Foundation
import Support
import Testing

@testable import Compute

/// A small layer of routed experts.
private struct TestExperts {
    let experts = 7
    let topK = 3
    let width = 33
    let inner = 20
    let gates: [TestWeight]
    let ups: [TestWeight]
    let downs: [TestWeight]
    let x: [Float]
    let logits: [Float]
    let tokens: Int

    /// Expert e has the type `dtypes[e % dtypes.count]`.
    init(_ dtypes: [DType], tokens: Int, using generator: inout SeededGenerator) throws {
        self.tokens = tokens
        let (experts, width, inner) = (experts, width, inner)
        func weights(_ shape: [Int]) throws -> [TestWeight] {
            try (0..<experts).map { try TestWeight(dtypes[$0 % dtypes.count], shape: shape, using: &generator) }
        }
        gates = try weights([inner, width])
        ups = try weights([inner, width])
        downs = try weights([width, inner])
        x = randomFloats(tokens * width, using: &generator)
        // Expert 6 is never chosen, expert 0 always: no block and several blocks of pairs.
        logits = (0..<tokens).flatMap { _ in
            [9] + randomFloats(experts - 2, using: &generator).map { $0 * 3 } + [-9]
        }
    }

    struct Result {
        var ids: [Int32]
        var weights: [Float]
        var counts: [Int32]
        var pairs: [Float]
    }

    func run(
        on backend: CPUBackend, rows: Range<Int>? = nil, dispatch: Dispatch? = nil,
        precision: WeightPrecision = .stored, shared: SharedMLP? = nil
    ) -> Result {
        let rows = rows ?? 0..<tokens
        let rule = GateRule.softmax(renormalize: true)
        let slots = dispatch?.placement.physicalExperts ?? experts
        let routing = Routing(tokens: rows.count, topK: topK, experts: experts, slots: slots, gate: rule)
        let logits = Buffer(Array(logits[rows.lowerBound * experts..<rows.upperBound * experts]), width: experts)
        // Counts are written in row 1 of three.
        var counts = [Int32](repeating: -5, count: 3 * slots)
        var ids = [Int32](repeating: -5, count: rows.count * topK)
        counts.withUnsafeMutableBufferPointer { counts in
            ids.withUnsafeMutableBufferPointer { ids in
                guard let counts = counts.baseAddress, let ids = ids.baseAddress else { return }
                backend.route(
                    logits, bias: nil, count: rows.count,
                    keeping: RoutingRow(counts: counts + slots, ids: ids, dispatch: dispatch, layer: 1), into: routing)
            }
        }
        let pairs = rows.count * topK
        let out = Buffer(rows: pairs, width: width, repeating: .nan)
        backend.experts(
            Buffer(Array(x[rows.lowerBound * width..<rows.upperBound * width]), width: width), routing: routing,
            gateUp: backend.makeMatrix(
                zip(gates, ups).map { [TensorRows($0.tensor), TensorRows($1.tensor)] }, gated: true,
                precision: precision),
            down: backend.makeMatrix(
                downs.map { [TensorRows($0.tensor)] }, gated: false, precision: precision),
            activations: Buffer(rows: pairs, width: inner, repeating: .nan), out: out, shared: shared)
        return Result(
            ids: ids, weights: Array(routing.weights), counts: counts, pairs: out.values(rows: pairs))
    }

    /// The chosen experts of `token` by descending logit, their weights, and what each adds.
    func reference(_ token: Int) -> [(id: Int, weight: Double, output: [Double])] {
        let logits = logits[token * experts..<(token + 1) * experts].map(Double.init)
        let chosen = logits.indices.sorted { (-logits[$0], $0) < (-logits[$1], $1) }.prefix(topK)
        let total = chosen.reduce(0) { $0 + exp(logits[$1]) }
        let x = x[token * width..<(token + 1) * width].map(Double.init)
        return chosen.map { id in
            let activations = (0..<inner).map { row in
                silu(product(gates[id].row(row), x)) * product(ups[id].row(row), x)
            }
            let weight = exp(logits[id]) / total
            return (id, weight, (0..<width).map { weight * product(downs[id].row($0), activations) })
        }
    }

    private func product(_ row: ArraySlice<Float>, _ x: [Double]) -> Double {
        row.withUnsafeBufferPointer { row in
            x.withUnsafeBufferPointer { x in
                var sum = 0.0
                var index = 0
                while index < x.count {  // a range would take most of a debug build's time
                    sum += Double(row[index]) * x[index]
                    index += 1
                }
                return sum
            }
        }
    }
}

@Suite struct ExpertKernelTests {
    @Test(
        "routed experts equal a loop over the tokens", arguments: instructionSets,
        [[DType.bfloat16], [.float16], [.float32], [.bfloat16, .float32, .float16]])
    func experts(instructionSet: String, dtypes: [DType]) throws {
        let backend = try makeBackend(instructionSet, threads: 2)
        defer { backend.stop() }
        var generator = SeededGenerator(seed: 41)
        for tokens in [1, 2, 13, 50, 130] {
            let layer = try TestExperts(dtypes, tokens: tokens, using: &generator)
            let found = layer.run(on: backend)
            let expected = (0..<tokens).flatMap(layer.reference)
            #expect(found.ids == expected.map { Int32($0.id) })
            var counts = [Int32](repeating: 0, count: layer.experts)
            for pair in expected { counts[pair.id] += 1 }
            let untouched = [Int32](repeating: -5, count: layer.experts)
            #expect(found.counts == untouched + counts + untouched)
            #expect(relativeDistance(found.weights, expected.map(\.weight)) < 1e-6)
            // Float32 rounding of two chained sums of up to 33 terms, and exponentials good to 2 ulp.
            #expect(relativeDistance(found.pairs, expected.flatMap(\.output)) < 2e-6, "\(tokens) tokens")
        }
    }

    @Test(
        "a shared expert beside routed ones has the bits of its own products, and changes none of theirs",
        arguments: instructionSets, [WeightPrecision.stored, .bfloat16])
    func sharedBeside(instructionSet: String, precision: WeightPrecision) throws {
        let backend = try makeBackend(instructionSet, threads: 3)
        defer { backend.stop() }
        var generator = SeededGenerator(seed: 46)
        for (tokens, inner) in [(1, 7), (2, 100), (60, 45)] {
            let layer = try TestExperts([.bfloat16], tokens: tokens, using: &generator)
            let rows = try [[inner, layer.width], [inner, layer.width], [layer.width, inner]].map {
                TensorRows(try TestWeight(.bfloat16, shape: $0, using: &generator).tensor)
            }
            // Its inputs may be rounded where those of the routed ones are not, and the other way round.
            for own in [WeightPrecision.stored, .bfloat16] {
                let shared = SharedMLP(
                    gateUp: backend.makeMatrix([[rows[0], rows[1]]], gated: true, precision: own),
                    down: backend.makeMatrix([[rows[2]]], gated: false, precision: own),
                    activations: Buffer(rows: tokens, width: inner, repeating: .nan),
                    out: Buffer(rows: tokens, width: layer.width, repeating: .nan))
                let pairs = layer.run(on: backend, precision: precision, shared: shared).pairs
                #expect(haveSameBits(pairs, layer.run(on: backend, precision: precision).pairs))
                let activations = Buffer(rows: tokens, width: inner, repeating: .nan)
                let expected = Buffer(rows: tokens, width: layer.width, repeating: .nan)
                backend.gatedLinear(
                    Buffer(layer.x, width: layer.width), count: tokens, weight: shared.gateUp, out: activations)
                backend.linear(
                    activations, count: tokens, weight: shared.down, bias: nil, out: expected, accumulate: false)
                #expect(haveSameBits(shared.out.values(rows: tokens), expected.values(rows: tokens)))
            }
        }
    }

    @Test("with inputs in bfloat16 routed experts are near a loop over the tokens", arguments: instructionSets)
    func roundedExperts(instructionSet: String) throws {
        let backend = try makeBackend(instructionSet, threads: 2)
        defer { backend.stop() }
        var generator = SeededGenerator(seed: 45)
        let layer = try TestExperts([.bfloat16], tokens: 60, using: &generator)
        let found = layer.run(on: backend, precision: .bfloat16)
        let expected = (0..<60).flatMap(layer.reference)
        #expect(found.ids == expected.map { Int32($0.id) })
        // Two roundings to 8 bits, of which many average out.
        let distance = relativeDistance(found.pairs, expected.flatMap(\.output))
        #expect(distance < 0x1p-8 && distance > 0x1p-14)
    }

    @Test(
        "a token's experts have the same bits alone, in a batch, and with any thread count", arguments: instructionSets,
        [WeightPrecision.stored, .bfloat16])
    func bits(instructionSet: String, precision: WeightPrecision) throws {
        var generator = SeededGenerator(seed: 42)
        let layer = try TestExperts([.bfloat16], tokens: 130, using: &generator)
        let results = try [1, 2, 4].map { threads in
            let backend = try makeBackend(instructionSet, threads: threads)
            defer { backend.stop() }
            let whole = layer.run(on: backend, precision: precision).pairs
            let size = layer.topK * layer.width
            for token in [0, 1, 47, 48, 49, 129] {
                let alone = layer.run(on: backend, rows: token..<token + 1, precision: precision).pairs
                #expect(haveSameBits(alone, Array(whole[token * size..<(token + 1) * size])), "token \(token)")
            }
            let part = layer.run(on: backend, rows: 20..<70, precision: precision).pairs
            #expect(haveSameBits(part, Array(whole[20 * size..<70 * size])))
            return whole
        }
        #expect(haveSameBits(results[0], results[1]))
        #expect(haveSameBits(results[0], results[2]))
    }

    @Test("wherever the experts lie, and however often, the bits are the same and each slot is counted")
    func dispatched() throws {
        let backend = try makeBackend("avx2", threads: 2)
        defer { backend.stop() }
        var generator = SeededGenerator(seed: 44)
        let layer = try TestExperts([.bfloat16], tokens: 130, using: &generator)
        let plain = layer.run(on: backend)
        // Shuffled, with replicas of experts 0 and 2; layer 0 is another one.
        var row = Array(0..<layer.experts) + [0, 0, 2]
        row.shuffle(using: &generator)
        let placement = try Placement(
            rows: [Array(row.reversed()), row], logicalExperts: layer.experts)
        let moved = layer.run(on: backend, dispatch: Dispatch(dynamic: placement))
        #expect(haveSameBits(moved.pairs, plain.pairs) && moved.weights == plain.weights)
        #expect(moved.ids.map { Int32(placement.logical(layer: 1, slot: Int($0))) } == plain.ids)
        var counts = [Int32](repeating: 0, count: row.count)
        for slot in moved.ids { counts[Int(slot)] += 1 }
        let untouched = [Int32](repeating: -5, count: row.count)
        #expect(moved.counts == untouched + counts + untouched)
        #expect(placement.replicas(layer: 1, expert: 0).allSatisfy { counts[Int($0)] > 40 })
    }

    @Test(
        "combine adds the routed sum and the shared expert behind its gate",
        arguments: instructionSets, [(true, true), (true, false), (false, false)])
    func combine(instructionSet: String, shared: (isThere: Bool, isGated: Bool)) throws {
        let backend = try makeBackend(instructionSet)
        var generator = SeededGenerator(seed: 43)
        for (tokens, topK, width) in [(1, 1, 1), (5, 4, 17), (13, 2, 64), (50, 6, 33)] {
            let routed = randomFloats(tokens * topK * width, using: &generator)
            let sharedOutput = randomFloats(tokens * width, using: &generator)
            let hidden = randomFloats(tokens * width, using: &generator)
            let gate = randomFloats(width, using: &generator)
            let old = randomFloats(tokens * width, using: &generator)
            let out = Buffer(old, width: width)
            backend.combine(
                Buffer(routed, width: width), count: tokens, topK: topK, factor: 1.5,
                shared: shared.isThere ? Buffer(sharedOutput, width: width) : nil,
                gate: shared.isGated
                    ? SharedGate(x: Buffer(hidden, width: width), weight: Buffer(gate, width: width)) : nil, out: out)
            let expected = (0..<tokens * width).map { index in
                let (token, column) = (index / width, index % width)
                let sum = (0..<topK).reduce(0.0) { $0 + Double(routed[(token * topK + $1) * width + column]) }
                let logit = (0..<width).reduce(0.0) { $0 + Double(hidden[token * width + $1]) * Double(gate[$1]) }
                let factor = shared.isGated ? 1 / (1 + exp(-logit)) : shared.isThere ? 1 : 0
                return Double(old[index]) + 1.5 * sum + factor * Double(sharedOutput[index])
            }
            // At most nine roundings of numbers of the result's size.
            #expect(relativeDistance(out.values(rows: tokens), expected) < 9 * 0x1p-24)
        }
    }
}
