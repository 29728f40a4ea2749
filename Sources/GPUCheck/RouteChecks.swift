// RouteChecks: what the GPU's routing gives against what the CPU's gives, to the bit. Outputs are poisoned before, and memory
// behind them must stay as it was.

import Compute

final class RouteChecks {
    static let poison: UInt8 = 0x5a
    static let poisonWord: Int32 = 0x5a5a_5a5a
    static let guardWords = 64

    let device: CUDADevice
    let stream: CUDAStream
    let rounds: Int
    /// Whether a few of each kind will do: under a tool that makes everything slow.
    let areFew: Bool
    private let vectors: String?
    /// Words of which a section's name must contain one; empty for all sections.
    private let only: [String]
    var random: Generator
    private(set) var checks = 0
    private(set) var failures = 0

    init(seed: UInt64, rounds: Int, areFew: Bool, only: [String], vectors: String?) throws {
        device = try CUDADevice()
        stream = try CUDAStream()
        random = Generator(seed: seed)
        self.rounds = rounds
        self.areFew = areFew
        self.only = only
        self.vectors = vectors
        say("GPU \(device.description.name), seed \(seed)")
    }

    /// Runs everything; returns the number of failures.
    func run() throws -> Int {
        if let vectors { try section("align, reference vectors") { try alignmentVectors(folder: vectors) } }
        for _ in 0..<rounds {
            try section("align, every launch") { try alignments() }
            try section("align, launches by size") { try alignmentSizes() }
            try section("gate") { try gates() }
            try section("route in one launch") { try routes() }
            try section("graph and ring") { try ring() }
        }
        return failures
    }

    private func section(_ name: String, _ body: () throws -> Void) throws {
        guard only.isEmpty || only.contains(where: name.contains) else { return }
        let (before, failedBefore) = (checks, failures)
        try body()
        say("\(name): \(checks - before) checks, \(failures - failedBefore) failed")
    }

    func expect(_ holds: Bool, _ what: @autoclosure () -> String) {
        checks += 1
        guard !holds else { return }
        failures += 1
        if failures <= 20 { say("  FAILED: \(what())") }
    }
}
