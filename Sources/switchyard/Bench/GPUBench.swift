// GPUBench: the routing benchmarks on a GPU: the same inputs, answers compared with the same naive way, times of graphs.

import Compute
import Experts
import Measure

/// A GPU that is measured.
struct GPUBench {
    let device: CUDADevice
    let stream: CUDAStream

    init() throws(CUDAError) {
        device = try CUDADevice()
        stream = try CUDAStream()
    }

    /// A copy on the GPU.
    private func copy<Element: BitwiseCopyable>(_ values: [Element]) throws(CUDAError) -> DeviceBuffer<Element> {
        let buffer = try DeviceBuffer<Element>(device, count: values.count)
        try buffer.write(values, on: stream)
        return buffer
    }

    /// Seconds of a kernel that reads and writes half of `bytes` each.
    private func limit(bytes: Int) throws(CUDAError) -> Double {
        let words = max(1, bytes / 8)
        let from = try DeviceBuffer<Int32>(device, count: words)
        let into = try DeviceBuffer<Int32>(device, count: words)
        try from.fill(byte: 0, on: stream)
        let parts = min(device.description.multiprocessors, (words + 1023) / 1024)
        let times = try graphTimes(on: stream, sets: 1) { (_) throws(CUDAError) in
            try LaunchFloor.copy.launch(
                device, parts: parts, from: from.address, into: into.address, pairs: words, on: stream)
        }
        return median(times)
    }

    /// Seconds of the naive way, on the CPU.
    private func baseline(_ body: () -> Void) -> Double { median((0..<5).map { _ in seconds(body) }) }

    /// Alignment with counts.
    func align(_ inputs: [[Int32]], _ rule: BlockRule, topK: Int) throws(CUDAError) -> RoutingReport.Case {
        let pairs = inputs[0].count
        let alignment = try CUDAAlignment(device, rule: rule, on: stream)
        let ids = try copy(Array(inputs.joined()))
        let rows = try DeviceBuffer<Int32>(device, count: rule.capacity(pairs: pairs))
        let blocks = try DeviceBuffer<Int32>(device, count: (rows.count + rule.blockSize - 1) / rule.blockSize)
        let padded = try DeviceBuffer<Int32>(device, count: 1)
        let ring = try CUDARecordRing(device, slots: 1, layers: 1, experts: rule.experts, on: stream)
        let memory = BlockMemory(
            sortedPairs: rows.address, blockExperts: blocks.address, paddedCount: padded.address,
            capacity: rows.count, blockCapacity: blocks.count)
        func align(_ set: Int, fillTail: Bool) throws(CUDAError) {
            try alignment.align(
                ids: ids.address + UInt64(set * pairs * 4), pairs: pairs, into: memory, fillTail: fillTail,
                record: ring.row(layer: 0), on: stream)
        }
        var isEqual = true
        var used = 0
        for (set, input) in inputs.enumerated() {
            try align(set, fillTail: true)
            let found = NaiveRouting.Blocks(
                sortedPairs: try rows.contents(on: stream), blockExperts: try blocks.contents(on: stream),
                paddedCount: Int(try padded.contents(on: stream)[0]), counts: try ring.counts.contents(on: stream))
            used += found.paddedCount
            isEqual =
                isEqual && found == NaiveRouting.align(input, experts: rule.experts, blockSize: rule.blockSize)
        }
        let times = try graphTimes(on: stream, sets: inputs.count) { (set) throws(CUDAError) in
            try align(set, fillTail: false)
        }
        let naive = baseline {
            _ = NaiveRouting.align(inputs[0], experts: rule.experts, blockSize: rule.blockSize)
        }
        let mean = used / inputs.count
        let bytes = 4 * (pairs + mean + mean / rule.blockSize + rule.experts)
        return RoutingReport.Case(
            ids: pairs, topK: topK, experts: rule.experts, blockSize: rule.blockSize, times: times, baseline: naive,
            limit: try limit(bytes: bytes), isEqual: isEqual)
    }

    /// Gating.
    func choose(
        _ inputs: [[Float]], _ rule: GateRule, name: String, tokens: Int, topK: Int, experts: Int, bias: [Float]?
    ) throws(CUDAError) -> RoutingReport.Case {
        let size = tokens * experts
        let gate = try CUDAGate(device, rule: rule, topK: topK, experts: experts, bias: bias, on: stream)
        let logits = try copy(Array(inputs.joined()))
        let ids = try DeviceBuffer<Int32>(device, count: tokens * topK)
        let weights = try DeviceBuffer<Float>(device, count: tokens * topK)
        func choose(_ set: Int) throws(CUDAError) {
            try gate.choose(
                logits: logits.address + UInt64(set * size * 4), tokens: tokens, weights: weights.address,
                ids: ids.address, on: stream)
        }
        var isEqual = true
        for (set, input) in inputs.enumerated() {
            try choose(set)
            let (found, shares) = (try ids.contents(on: stream), try weights.contents(on: stream))
            isEqual =
                isEqual
                && NaiveRouting.accepts(
                    ids: found, weights: shares, rule, topK: topK, logits: input, experts: experts, bias: bias)
        }
        let times = try graphTimes(on: stream, sets: inputs.count, choose)
        let naive = baseline {
            _ = NaiveRouting.topK(rule, topK: topK, logits: inputs[0], experts: experts, bias: bias)
        }
        return RoutingReport.Case(
            rule: name, ids: tokens * topK, topK: topK, experts: experts, times: times, baseline: naive,
            limit: try limit(bytes: 4 * size + 8 * tokens * topK), isEqual: isEqual)
    }
}

extension RoutingReport.Case {
    /// A case from a GPU's times, all in seconds.
    fileprivate init(
        rule: String? = nil, ids: Int, topK: Int, experts: Int, blockSize: Int? = nil, times: [Double],
        baseline: Double, limit: Double, isEqual: Bool
    ) {
        let middle = quantile(0.5, of: times)
        self.init(
            rule: rule, ids: ids, topK: topK, experts: experts, blockSize: blockSize, threads: 1,
            median: middle * 1e6, p99: quantile(0.99, of: times) * 1e6, baseline: baseline * 1e6,
            ratio: baseline / middle, limit: limit * 1e6, isEqual: isEqual)
    }
}
