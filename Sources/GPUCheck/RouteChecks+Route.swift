// RouteChecks: gate, dispatch, alignment and counts in one launch.

import Compute
import Experts

extension RouteChecks {
    func routes() throws {
        for _ in 0..<(areFew ? 2 : 12) {
            let problem = randomGate()
            let table = try dispatch(experts: problem.experts)
            let columns = problem.rule.columns(topK: problem.topK)
            let targets =
                (table?.placement.physicalExperts ?? problem.experts) + (problem.rule.shared?.copies ?? 0)
            let rule = try BlockRule(
                experts: targets, blockSize: [1, 16, 48, 128].randomElement(using: &random) ?? 16,
                foreign: Bool.random(using: &random) ? .ownBlocks : .dropped)
            let gate = try CUDAGate(
                device, rule: problem.rule, topK: problem.topK, experts: problem.experts, bias: problem.bias, on: stream
            )
            let router = CUDARouter(
                device, gate: gate, alignment: try CUDAAlignment(device, rule: rule, on: stream))
            for tokens in areFew ? [3, 64] : [1, 3, 8, 16, Int.random(in: 1...64, using: &random), 64, 300] {
                let buckets = targets + (rule.foreign == .ownBlocks ? 1 : 0)
                try route(
                    router, problem, rule, table, tokens: tokens,
                    launches: [nil]
                        + Self.launches(tokens: tokens, columns: columns, buckets: buckets, device.description)
                        .filter { !areFew && router.fits($0, tokens: tokens) })
            }
        }
    }

    /// The launches that can route `tokens` rows at once.
    static func launches(
        tokens: Int, columns: Int, buckets: Int, _ device: CUDADriver.Device
    ) -> [CUDARouter.Launch] {
        let pairs = tokens * columns
        guard tokens <= 64, pairs <= 1024 else { return [] }
        if pairs <= 64 {
            return [8, 16, 32].filter { $0 == 32 || pairs <= $0 }.map { CUDARouter.Launch(warps: $0, parts: 1) }
        }
        return [16, 32].filter { pairs <= $0 * 32 && buckets <= $0 * 64 }.flatMap { warps in
            (device.hasClusters ? [1, 4, 8] : [1]).map { CUDARouter.Launch(warps: warps, parts: $0) }
        }
    }

    func route(
        _ router: CUDARouter, _ problem: GateProblem, _ rule: BlockRule, _ table: Dispatch?, tokens: Int,
        launches: [CUDARouter.Launch?]
    ) throws {
        let logits = random.logits(tokens: tokens, experts: problem.experts)
        let real = Bool.random(using: &random) ? Int.random(in: 0...tokens, using: &random) : nil
        let expected = choose(problem, logits: logits, realTokens: real, dispatch: table, layer: 0)
        let blocksExpected = try Expected(rule, ids: expected.ids)
        let input = try DeviceBuffer<Float>(device, count: logits.count)
        try input.write(logits, on: stream)
        let ids = try DeviceBuffer<Int32>(device, count: expected.ids.count)
        let weights = try DeviceBuffer<Float>(device, count: expected.ids.count)
        let realTokens = try DeviceBuffer<Int32>(device, count: 1)
        if let real { try realTokens.write([Int32(real)], on: stream) }
        let tables = try table.map { try CUDADispatch(device, $0, on: stream) }
        let blocks = try Blocks(
            device, capacity: router.alignment.capacity(pairs: expected.ids.count), blockSize: rule.blockSize)
        let ring = try CUDARecordRing(device, slots: 2, layers: 1, experts: rule.experts, on: stream)
        for (pass, launch) in launches.enumerated() {
            let tail = Bool.random(using: &random)
            try blocks.poison(stream)
            try ids.fill(byte: Self.poison, on: stream)
            try weights.fill(byte: Self.poison, on: stream)
            try router.route(
                logits: input.address, tokens: tokens, weights: weights.address, ids: ids.address, into: blocks.memory,
                realTokens: real == nil ? 0 : realTokens.address, dispatch: tables?.row(layer: 0), fillTail: tail,
                record: ring.row(layer: 0), launch: launch, on: stream)
            let name =
                "\(launch.map { "\($0)" } ?? "usual launch"), \(tokens) tokens, top \(problem.topK) of \(problem.experts), "
                + "block \(rule.blockSize)"
            try compare(ids, weights, expected, logits: logits, problem, name)
            let difference = try blocks.difference(
                from: blocksExpected, pairs: expected.ids.count, tail: tail, stream)
            expect(difference == nil, "\(name): \(difference ?? "")")
            let counts = try ring.counts.contents(on: stream)
            let first = pass % 2 * rule.experts
            expect(Array(counts[first..<first + rule.experts]) == blocksExpected.counts, "\(name): counts differ")
        }
    }
}
