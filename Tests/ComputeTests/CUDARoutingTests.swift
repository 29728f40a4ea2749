// A GPU's routing against the CPU's, where there is a GPU. `gpu-check test` does more of it, and `Tools/gpu/emulate` runs that
// everywhere.

import Compute
import Experts
import Support
import Testing

@Suite(.enabled(if: (try? CUDADriver()) != nil, "needs an NVIDIA GPU"))
struct CUDARoutingTests {
    @Test("blocks and counts are the CPU's", arguments: [8, 64, 512, 8192, 100_000])
    func alignment(pairs: Int) throws {
        var random = SeededGenerator(seed: UInt64(pairs))
        let rule = try BlockRule(experts: 60, blockSize: 16)
        let ids = (0..<pairs).map { _ in Int32.random(in: -1..<60, using: &random) }
        let expected = BlockAlignment()
        try ids.withUnsafeBufferPointer { try expected.align(rule, ids: $0) }

        let device = try CUDADevice()
        let stream = try CUDAStream()
        let alignment = try CUDAAlignment(device, rule: rule, on: stream)
        let input = try DeviceBuffer<Int32>(device, count: pairs)
        try input.write(ids, on: stream)
        let capacity = rule.capacity(pairs: pairs)
        let sorted = try DeviceBuffer<Int32>(device, count: capacity)
        let blocks = try DeviceBuffer<Int32>(device, count: (capacity + 15) / 16)
        let padded = try DeviceBuffer<Int32>(device, count: 1)
        let ring = try CUDARecordRing(device, slots: 1, layers: 1, experts: 60, on: stream)
        try alignment.align(
            ids: input.address, pairs: pairs,
            into: BlockMemory(
                sortedPairs: sorted.address, blockExperts: blocks.address, paddedCount: padded.address,
                capacity: capacity, blockCapacity: blocks.count),
            fillTail: true, record: ring.row(layer: 0), on: stream)
        let tail = expected.fillTail()
        #expect(try padded.contents(on: stream) == [Int32(expected.paddedCount)])
        #expect(try sorted.contents(on: stream) == Array(tail.sortedPairs))
        #expect(try blocks.contents(on: stream) == Array(tail.blockExperts))
        #expect(try ring.counts.contents(on: stream) == Array(expected.counts))
    }

    @Test("ids and weights have the CPU's bits", arguments: [1, 33, 700])
    func gate(tokens: Int) throws {
        var random = SeededGenerator(seed: UInt64(tokens))
        let (experts, topK) = (60, 4)
        let rule = GateRule.softmax(renormalize: false)
        let logits = (0..<tokens * experts).map { _ in Float.random(in: -4...4, using: &random) }
        var ids = [Int32](repeating: 0, count: tokens * topK)
        var weights = [Float](repeating: 0, count: tokens * topK)
        var scratch = [Float](repeating: 0, count: rule.scratchCount(experts: experts))
        logits.withUnsafeBufferPointer { logits in
            weights.withUnsafeMutableBufferPointer { weights in
                ids.withUnsafeMutableBufferPointer { ids in
                    scratch.withUnsafeMutableBufferPointer { scratch in
                        selectExperts(
                            rule, topK: topK, logits: logits, experts: experts, weights: weights, ids: ids,
                            scratch: scratch)
                    }
                }
            }
        }
        let device = try CUDADevice()
        let stream = try CUDAStream()
        let gate = try CUDAGate(device, rule: rule, topK: topK, experts: experts, on: stream)
        let input = try DeviceBuffer<Float>(device, count: logits.count)
        try input.write(logits, on: stream)
        let foundIDs = try DeviceBuffer<Int32>(device, count: ids.count)
        let foundWeights = try DeviceBuffer<Float>(device, count: ids.count)
        try gate.choose(
            logits: input.address, tokens: tokens, weights: foundWeights.address, ids: foundIDs.address, on: stream)
        #expect(try foundIDs.contents(on: stream) == ids)
        #expect(haveSameBits(try foundWeights.contents(on: stream), weights))
    }
}
