// RouteChecks: block alignment, by every launch that can hold the pairs.

import Compute
import Experts

extension RouteChecks {
    /// A rule with its oracle's results for `ids`.
    struct Expected {
        var sorted: [Int32]
        var blocks: [Int32]
        var counts: [Int32]

        init(sorted: [Int32], blocks: [Int32], counts: [Int32]) {
            self.sorted = sorted
            self.blocks = blocks
            self.counts = counts
        }

        init(_ rule: BlockRule, ids: [Int32]) throws {
            let known = ids.map { $0 >= 0 && Int($0) < rule.experts ? $0 : -1 }
            let oracle = BlockAlignment()
            try known.withUnsafeBufferPointer { try oracle.align(rule, ids: $0) }
            sorted = Array(oracle.sortedPairs)
            blocks = Array(oracle.blockExperts)
            counts = Array(oracle.counts)
        }
    }

    /// Device memory for blocks, with a guard behind.
    struct Blocks {
        let sorted, blocks, padded: DeviceBuffer<Int32>
        let memory: BlockMemory

        init(_ device: CUDADevice, capacity: Int, blockSize: Int) throws {
            let blockCapacity = (capacity + blockSize - 1) / blockSize
            sorted = try DeviceBuffer(device, count: capacity + RouteChecks.guardWords)
            blocks = try DeviceBuffer(device, count: blockCapacity + RouteChecks.guardWords)
            padded = try DeviceBuffer(device, count: 1)
            memory = BlockMemory(
                sortedPairs: sorted.address, blockExperts: blocks.address, paddedCount: padded.address,
                capacity: capacity, blockCapacity: blockCapacity)
        }

        func poison(_ stream: CUDAStream) throws {
            for buffer in [sorted, blocks, padded] { try buffer.fill(byte: RouteChecks.poison, on: stream) }
        }

        /// Nil if all is as expected, else what is not.
        func difference(from expected: Expected, pairs: Int, tail: Bool, _ stream: CUDAStream) throws -> String? {
            let padded = try self.padded.contents(on: stream)[0]
            guard Int(padded) == expected.sorted.count else { return "padded \(padded), not \(expected.sorted.count)" }
            func compare(_ name: String, _ found: [Int32], _ wanted: [Int32], room: Int, behind: Int32) -> String? {
                // Without a filled tail, what lies behind the rows in use may be anything; nobody touches what is not his.
                for (index, value) in found.enumerated() where index < wanted.count || index >= room || tail {
                    let right =
                        index < wanted.count ? wanted[index] : index < room ? behind : RouteChecks.poisonWord
                    if value != right { return "\(name)[\(index)] is \(value), not \(right)" }
                }
                return nil
            }
            return try compare(
                "sorted", try sorted.contents(on: stream), expected.sorted, room: memory.capacity,
                behind: Int32(truncatingIfNeeded: pairs))
                ?? compare(
                    "blocks", try blocks.contents(on: stream), expected.blocks, room: memory.blockCapacity, behind: -1)
        }
    }

    func align(_ rule: BlockRule, ids: [Int32], launches: [AlignLaunch?]) throws {
        let expected = try Expected(rule, ids: ids)
        let alignment = try CUDAAlignment(device, rule: rule, on: stream)
        let input = try DeviceBuffer<Int32>(device, count: max(1, ids.count))
        try input.write(ids, on: stream)
        let spare = [0, 3, 700].randomElement(using: &random) ?? 0
        let blocks = try Blocks(
            device, capacity: alignment.capacity(pairs: ids.count) + spare, blockSize: rule.blockSize)
        let ring = try CUDARecordRing(device, slots: 4, layers: 2, experts: rule.experts, on: stream)
        for (pass, launch) in launches.enumerated() {
            let tail = Bool.random(using: &random)
            try blocks.poison(stream)
            for layer in 0..<2 {
                try alignment.align(
                    ids: input.address, pairs: ids.count, into: blocks.memory, fillTail: tail,
                    record: ring.row(layer: layer), launch: launch, on: stream)
            }
            let name =
                "\(launch.map { "\($0)" } ?? "usual launch"), \(ids.count) pairs, \(rule.experts) experts, "
                + "block \(rule.blockSize), map \(rule.map != nil), \(rule.foreign), tail \(tail)"
            let difference = try blocks.difference(from: expected, pairs: ids.count, tail: tail, stream)
            expect(difference == nil, "\(name): \(difference ?? "")")
            let counts = try ring.counts.contents(on: stream)
            let first = pass % 4 * 2 * rule.experts
            expect(
                Array(counts[first..<first + 2 * rule.experts]) == expected.counts + expected.counts,
                "\(name): counts differ")
            expect(try ring.pass.contents(on: stream)[0] == UInt32(pass + 1), "\(name): pass number")
        }
    }

    func randomRule() throws -> BlockRule {
        let experts = [1, 2, 7, 8, 60, 64, 128, 160, 256, 257, 384, 512, 1000].randomElement(using: &random) ?? 8
        let blockSize = [1, 3, 4, 16, 48, 64, 128].randomElement(using: &random) ?? 16
        var map: BlockRule.ExpertMap?
        if Int.random(in: 0..<3, using: &random) == 0 {
            var local = (0..<Int32(experts)).map { $0 }
            local.shuffle(using: &random)
            for expert in local.indices where Bool.random(using: &random) { local[expert] = -1 }
            map = try BlockRule.ExpertMap(local)
        }
        return try BlockRule(
            experts: experts, blockSize: blockSize, map: map,
            foreign: Bool.random(using: &random) ? .ownBlocks : .dropped)
    }

    /// The launches that can align `pairs` pairs.
    static func launches(pairs: Int, buckets: Int, blockSize: Int, on device: CUDADriver.Device) -> [AlignLaunch] {
        if pairs <= 64 {
            return [8, 16, 32].filter { $0 == 32 || pairs <= $0 }.map { AlignLaunch(.few, warps: $0, parts: 1) }
                + [AlignLaunch(.alone, warps: 16, parts: 4)]
        }
        var launches: [AlignLaunch] = []
        for (warps, items) in [(16, 1), (16, 2), (32, 1), (32, 2)] where pairs <= warps * 32 * items {
            launches += [1, 4, 8, 16].map { AlignLaunch(.alone, warps: warps, items: items, parts: $0) }
        }
        if device.hasClusters {
            for (warps, items) in [(16, 1), (16, 2), (32, 1), (32, 2), (32, 4), (32, 8)] {
                for parts in [4, 8, 16]
                where pairs <= parts * warps * 32 * items && pairs > parts * warps * 8 * items {
                    launches.append(AlignLaunch(.cluster, warps: warps, items: items, parts: parts))
                }
            }
        }
        for (warps, items) in [(32, 1), (32, 2), (32, 4), (32, 8), (32, 16), (16, 1), (16, 2), (16, 4), (16, 8)]
        where pairs > 1024 {
            let parts = (pairs + warps * 32 * items - 1) / (warps * 32 * items)
            if parts > 1, parts <= device.multiprocessors {
                launches.append(AlignLaunch(.grid, warps: warps, items: items, parts: parts))
            }
        }
        return launches.filter {
            buckets <= $0.mostBuckets
                && $0.sharedMemory(pairs: pairs, buckets: buckets, blockSize: blockSize) <= device.sharedMemory
        }
    }

    func alignments() throws {
        for pairs in [
            0, 1, 2, 8, 31, 32, 33, 63, 64, 65, 200, 512, 777, 1024, 2047, 4096, 8192, 12001, 32768, 70000, 131072,
        ] {
            for _ in 0..<(areFew ? 1 : pairs <= 64 ? 12 : pairs <= 8192 ? 6 : 3) {
                let rule = try randomRule()
                let buckets = rule.experts + (rule.foreign == .ownBlocks ? 1 : 0)
                try align(
                    rule, ids: random.oddIDs(pairs: pairs, experts: rule.experts),
                    launches: [nil]
                        + Self.launches(
                            pairs: pairs, buckets: buckets, blockSize: rule.blockSize, on: device.description))
            }
        }
    }

    func alignmentSizes() throws {
        for _ in 0..<(areFew ? 4 : 60) {
            let rule = try randomRule()
            let pairs = min(Int(exp2Random(upTo: 20)), AlignLaunch.largest(on: device.description))
            try align(rule, ids: random.oddIDs(pairs: pairs, experts: rule.experts), launches: [nil, nil])
        }
    }

    func exp2Random(upTo bits: Int) -> Double {
        let exponent = Int.random(in: 0..<bits, using: &random)
        return Double(1 << exponent) * Double.random(in: 1..<2, using: &random)
    }
}
