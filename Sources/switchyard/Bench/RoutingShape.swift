// RoutingShape: the flags that the routing benchmarks share.

import ArgumentParser
import Compute
import Experts

/// The flags that the routing benchmarks share.
struct RoutingShape: ParsableArguments {
    @Option(help: ArgumentHelp("Tokens in a pass. (default: 4096)", valueName: "count"))
    var tokens: Int?

    @Option(help: ArgumentHelp("Experts per token. (default: 2)", valueName: "count"))
    var topK: Int?

    @Option(help: ArgumentHelp("Experts. (default: 64)", valueName: "count"))
    var experts: Int?

    @Option(help: ArgumentHelp("Threads; only inputs that gain by it use more than one.", valueName: "count"))
    var threads = 1

    @Option(help: "Where to compute; auto is the CPU.")
    var device = DeviceChoice.auto

    @Option(help: ArgumentHelp("Seed of the random inputs.", valueName: "number"))
    var seed: UInt64 = 1

    @Flag(help: "Print one JSON object instead of a table.")
    var json = false

    @Flag(help: "Measure the table of shapes in the README instead of one shape.")
    var sweep = false

    /// N, K and E, as given or by default.
    var size: (tokens: Int, topK: Int, experts: Int) { (tokens ?? 4096, topK ?? 2, experts ?? 64) }

    func validate() throws {
        try EngineOptions.check("--tokens", size.tokens, in: 0...1 << 22)
        try EngineOptions.check("--experts", size.experts, in: 1...8192)
        try EngineOptions.check("--top-k", size.topK, in: 1...min(size.experts, 1024))
        try EngineOptions.check("--threads", threads, in: 1...1024)
    }

    /// The GPU to measure; nil is the CPU.
    func gpu() throws(CUDAError) -> GPUBench? {
        guard device == .cuda else { return nil }
        do throws(CUDAError) {
            return try GPUBench()
        } catch {
            throw CUDAError("--device cuda", error.cause)
        }
    }

    /// Refuses flags that a sweep has no use for.
    ///
    /// - Parameter flags: names, and whether each was given.
    /// - Throws: `ValidationError` that names the first of them.
    static func checkSweep(_ flags: [(name: String, isGiven: Bool)]) throws {
        guard let flag = flags.first(where: \.isGiven)?.name else { return }
        throw ValidationError("--sweep measures shapes of its own: leave \(flag) away, or --sweep")
    }

    /// Refuses inputs of more than `most` numbers, which would take minutes.
    static func checkWork(_ flags: String, _ first: Int, _ second: Int, most: Int) throws {
        guard first > most / second else { return }
        throw ValidationError(
            "\(flags) \(first) × \(second): at most \(most) in all; try \(most / second) × \(second)")
    }
}
