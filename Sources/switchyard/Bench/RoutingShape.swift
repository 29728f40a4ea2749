// RoutingShape: the flags that the routing benchmarks share.

import ArgumentParser
import Compute
import Experts

/// The flags that the routing benchmarks share.
struct RoutingShape: ParsableArguments {
    @Option(help: ArgumentHelp("Tokens in a pass.", valueName: "count"))
    var tokens = 4096

    @Option(help: ArgumentHelp("Experts per token.", valueName: "count"))
    var topK = 2

    @Option(help: ArgumentHelp("Experts.", valueName: "count"))
    var experts = 64

    @Option(help: ArgumentHelp("Threads; only inputs that gain by it use more than one.", valueName: "count"))
    var threads = 1

    @Option(help: "Where to compute; auto is the CPU in this version.")
    var device = DeviceChoice.auto

    @Option(help: ArgumentHelp("Seed of the random inputs.", valueName: "number"))
    var seed: UInt64 = 1

    @Flag(help: "Print one JSON object instead of a table.")
    var json = false

    @Flag(help: "Measure the table of shapes in the README instead of one shape.")
    var sweep = false

    func validate() throws {
        try EngineOptions.check("--tokens", tokens, in: 0...1 << 22)
        try EngineOptions.check("--experts", experts, in: 1...8192)
        try EngineOptions.check("--top-k", topK, in: 1...min(experts, 1024))
        try EngineOptions.check("--threads", threads, in: 1...1024)
        try EngineOptions.checkDevice(device)
    }
}
