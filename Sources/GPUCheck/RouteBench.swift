// RouteBench: how long routing takes on this GPU. Graphs of 32 launches over 8 input sets in rotation, the median of 25
// replays. `alone` is a launch after the one before has ended; `overlapped` lets it begin early, as in an engine's stream.

import Compute
import Experts

final class RouteBench {
    private static let sets = 8
    private static let repetitions = 32
    private static let replays = 25

    let device: CUDADevice
    let stream: CUDAStream
    let everyLaunch: Bool
    /// Words of which a case's name must contain one; empty for all cases.
    let only: [String]
    var random = Generator(seed: 1)

    init(everyLaunch: Bool, only: [String]) throws {
        device = try CUDADevice()
        stream = try CUDAStream()
        self.everyLaunch = everyLaunch
        self.only = only
    }

    func run() throws {
        let gpu = device.description
        let libraries = CUDALibrary.allCases.map { "\($0) \($0.version() ?? "not found")" }
        say(
            "GPU \(gpu.name), \(gpu.multiprocessors) multiprocessors, NVRTC \(try KernelCompiler.version()), "
                + libraries.joined(separator: ", "))
        say(row("case", "alone µs", "overlapped µs", "target µs"))
        try floors()
        try alignments()
        try gates()
        try routes()
    }

    private func isWanted(_ name: String) -> Bool { only.isEmpty || only.contains { name.contains($0) } }

    private func row(_ name: String, _ alone: String, _ overlapped: String, _ target: String) -> String {
        func pad(_ text: String, _ width: Int, left: Bool = true) -> String {
            let space = String(repeating: " ", count: max(0, width - text.count))
            return left ? space + text : text + space
        }
        return "| \(pad(name, 66, left: false)) | \(pad(alone, 8)) | \(pad(overlapped, 13)) | \(pad(target, 9)) |"
    }

    private func report(_ name: String, target: String = "", _ enqueue: (Int) throws(CUDAError) -> Void) throws {
        let early = device.startsEarly
        device.startsEarly = false
        let alone = try microseconds(enqueue)
        device.startsEarly = early
        let overlapped = early ? try microseconds(enqueue) : alone
        say(row(name, shown(alone), shown(overlapped), target))
    }

    private func shown(_ microseconds: Double) -> String {
        let hundredths = Int((microseconds * 100).rounded())
        let rest = hundredths % 100
        return "\(hundredths / 100).\(rest < 10 ? "0" : "")\(rest)"
    }

    /// The median time of `enqueue(set)`.
    private func microseconds(_ enqueue: (Int) throws(CUDAError) -> Void) throws -> Double {
        for set in 0..<Self.sets { try enqueue(set) }
        let graph = try stream.capture { () throws(CUDAError) in
            for repetition in 0..<Self.repetitions { try enqueue(repetition % Self.sets) }
        }
        for _ in 0..<10 { try graph.launch(on: stream) }
        var times: [Double] = []
        let start = try CUDAEvent(keepsTime: true)
        let end = try CUDAEvent(keepsTime: true)
        for _ in 0..<Self.replays {
            try start.record(on: stream)
            try graph.launch(on: stream)
            try end.record(on: stream)
            try end.wait()
            times.append(Double(try end.milliseconds(since: start)) * 1000 / Double(Self.repetitions))
        }
        times.sort()
        return times[times.count / 2]
    }

    // MARK: Floors

    private func floors() throws {
        try report("empty kernel") { (_) throws(CUDAError) in try LaunchFloor.empty.launch(device, on: stream) }
        try report("kernel that waits for the one before") { (_) throws(CUDAError) in
            try LaunchFloor.emptyEarly.launch(device, on: stream)
        }
        guard device.description.hasClusters else { return }
        for parts in [4, 8, 16] {
            try report("cluster of \(parts) CTAs that meet once") { (_) throws(CUDAError) in
                try LaunchFloor.cluster.launch(device, parts: parts, on: stream)
            }
        }
        let words = 131072
        let (from, into) = (
            try DeviceBuffer<Int32>(device, count: words * Self.sets), try DeviceBuffer<Int32>(device, count: words)
        )
        try from.fill(byte: 1, on: stream)
        for count in [8192, words] {
            try report("read and write \(count) ids") { (set) throws(CUDAError) in
                try LaunchFloor.copy.launch(
                    device, parts: min(128, (count + 1023) / 1024), from: from.address + UInt64(set * words * 4),
                    into: into.address, pairs: count, on: stream)
            }
        }
    }

    // MARK: Alignment

    private func alignments() throws {
        for experts in [60, 128, 256] {
            try align(pairs: 8, experts, 16, "1.8")
            try align(pairs: 64, experts, 16, "1.8")
            try align(pairs: 64, experts, 128, "2.4")
        }
        for experts in [60, 128, 256] {
            try align(pairs: 512, experts, 16, "3.0")
            try align(pairs: 512, experts, 128, "3.0")
        }
        try align(pairs: 2048, 128, 64, "")
        try align(pairs: 8192, 64, 128, "3.5")
        for experts in [64, 256] { try align(pairs: 32768, experts, 128, "6") }
        for experts in [64, 256] { try align(pairs: 131072, experts, 128, "10") }
    }

    private func align(pairs: Int, _ experts: Int, _ blockSize: Int, _ target: String) throws {
        let name = "align \(pairs) ids, E \(experts), block \(blockSize)"
        guard isWanted(name) else { return }
        let rule = try BlockRule(experts: experts, blockSize: blockSize)
        let alignment = try CUDAAlignment(device, rule: rule, on: stream)
        let ids = try DeviceBuffer<Int32>(device, count: pairs * Self.sets)
        try ids.write(random.ids(tokens: pairs * Self.sets / 8, topK: 8, experts: experts), on: stream)
        let blocks = try RouteChecks.Blocks(device, capacity: rule.capacity(pairs: pairs), blockSize: blockSize)
        let ring = try CUDARecordRing(device, slots: 4, layers: Self.repetitions, experts: experts, on: stream)
        func measure(_ name: String, _ target: String, tail: Bool, counts: Bool, _ launch: AlignLaunch? = nil) throws {
            let record = counts ? ring.row(layer: 0) : nil
            try report(name, target: target) { (set) throws(CUDAError) in
                try alignment.align(
                    ids: ids.address + UInt64(set * pairs * 4), pairs: pairs, into: blocks.memory, fillTail: tail,
                    record: record, launch: launch, on: stream)
            }
        }
        try measure(name, target, tail: false, counts: true)
        try measure("  and what lies behind filled", "", tail: true, counts: true)
        try measure("  without counts", "", tail: false, counts: false)
        guard everyLaunch else { return }
        for launch in RouteChecks.launches(pairs: pairs, buckets: experts, blockSize: blockSize, on: device.description)
        {
            try measure(
                "    \(launch.team) \(launch.parts) × \(launch.warps) × \(launch.items)", "", tail: false, counts: true,
                launch)
        }
    }

    // MARK: Gate

    private func gates() throws {
        for (experts, targets) in [(60, ("2.5", "6")), (128, ("2.5", "10")), (256, ("", "16"))] {
            for renormalize in [false, true] {
                let rule = GateRule.softmax(renormalize: renormalize)
                let name = "softmax top-8\(renormalize ? ", renormalised" : ""), E \(experts)"
                try gate(rule, name, experts, tokens: 1, target: targets.0)
                try gate(rule, name, experts, tokens: 16384, target: targets.1)
            }
        }
        let rule = GateRule(
            scoring: .sigmoid, renormalize: true, groups: GateRule.Groups(count: 8, kept: 4), scale: 2.5)
        for tokens in [1, 16, 64, 128, 512, 16384] {
            try gate(
                rule, "biased grouped top-8, E 256", 256, tokens: tokens, bias: true, target: tokens <= 512 ? "4" : "")
        }
    }

    private func gate(
        _ rule: GateRule, _ name: String, _ experts: Int, tokens: Int, bias: Bool = false, target: String
    ) throws {
        let name = "\(name), \(tokens) token\(tokens == 1 ? "" : "s")"
        guard isWanted(name) else { return }
        let gate = try CUDAGate(
            device, rule: rule, topK: 8, experts: experts,
            bias: bias ? (0..<experts).map { _ in random.normal() * 0.1 } : nil, on: stream)
        let logits = try DeviceBuffer<Float>(device, count: tokens * experts * Self.sets)
        try logits.write((0..<tokens * experts * Self.sets).map { _ in random.normal() }, on: stream)
        let ids = try DeviceBuffer<Int32>(device, count: tokens * 8)
        let weights = try DeviceBuffer<Float>(device, count: tokens * 8)
        func measure(_ name: String, _ target: String, lanes: Int?) throws {
            try report(name, target: target) { (set) throws(CUDAError) in
                try gate.choose(
                    logits: logits.address + UInt64(set * tokens * experts * 4), tokens: tokens,
                    weights: weights.address, ids: ids.address, lanes: lanes, on: stream)
            }
        }
        try measure(name, target, lanes: nil)
        guard everyLaunch else { return }
        for lanes in gate.lanesPerRow { try measure("    \(lanes) lanes a row", "", lanes: lanes) }
    }

    // MARK: One launch

    private func routes() throws {
        let experts = 128
        let gate = try CUDAGate(device, rule: .softmax(renormalize: true), topK: 8, experts: experts, on: stream)
        for blockSize in [16, 128] {
            for tokens in [1, 4, 8, 16, 32, 64] {
                let name = "gate + align + record, \(tokens) tokens, top 8 of 128, block \(blockSize)"
                guard isWanted(name) else { continue }
                let rule = try BlockRule(experts: experts, blockSize: blockSize)
                let router = CUDARouter(
                    device, gate: gate, alignment: try CUDAAlignment(device, rule: rule, on: stream))
                let logits = try DeviceBuffer<Float>(device, count: tokens * experts * Self.sets)
                try logits.write((0..<tokens * experts * Self.sets).map { _ in random.normal() }, on: stream)
                let ids = try DeviceBuffer<Int32>(device, count: tokens * 8)
                let weights = try DeviceBuffer<Float>(device, count: tokens * 8)
                let blocks = try RouteChecks.Blocks(
                    device, capacity: rule.capacity(pairs: tokens * 8), blockSize: blockSize)
                let ring = try CUDARecordRing(device, slots: 4, layers: 2, experts: experts, on: stream)
                func measure(_ name: String, target: String, counts: Bool, _ launch: CUDARouter.Launch? = nil) throws {
                    let record = counts ? ring.row(layer: 0) : nil
                    try report(name, target: target) { (set) throws(CUDAError) in
                        try router.route(
                            logits: logits.address + UInt64(set * tokens * experts * 4), tokens: tokens,
                            weights: weights.address, ids: ids.address, into: blocks.memory, record: record,
                            launch: launch, on: stream)
                    }
                }
                try measure(name, target: "4.5", counts: true)
                try measure("  without counts", target: "", counts: false)
                guard everyLaunch else { continue }
                for launch in RouteChecks.launches(
                    tokens: tokens, columns: 8, buckets: experts, device.description)
                {
                    try measure("    \(launch.parts) × \(launch.warps)", target: "", counts: true, launch)
                }
            }
        }
    }
}
