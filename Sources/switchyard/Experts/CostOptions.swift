// CostOptions: the flags that turn counts into time and bytes.

import ArgumentParser
import Experts
import Measure

/// Bytes per weight.
enum WeightType: String, ExpressibleByArgument, CaseIterable {
    case fp32, bf16, fp16, fp8, int8, int4

    var bytes: Double {
        switch self {
        case .fp32: 4
        case .bf16, .fp16: 2
        case .fp8, .int8: 1
        case .int4: 0.5
        }
    }
}

/// The flags that turn counts into time and bytes.
struct CostOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Bytes of one expert's weights.", valueName: "bytes"))
    var bytesPerExpert: Double?

    @Option(help: ArgumentHelp("The model's hidden size; with --intermediate instead of bytes.", valueName: "count"))
    var hidden: Int?

    @Option(help: ArgumentHelp("Width of an expert; it has three matrices of hidden × width.", valueName: "count"))
    var intermediate: Int?

    @Option(help: "Type of the weights.")
    var dtype = WeightType.bf16

    @Option(help: ArgumentHelp("What a GPU receives during transfers, in GB/s.", valueName: "GB/s"))
    var bandwidth = 50.0

    @Option(help: ArgumentHelp("Time from one pass to the next, in ms. (default: 50, a guess)", valueName: "ms"))
    var passTime: Double?

    @Option(help: ArgumentHelp("The part of a pass that expert layers take, above 0 to 1.", valueName: "share"))
    var expertShare = 0.5

    func validate() throws {
        if bytesPerExpert != nil, hidden != nil || intermediate != nil {
            throw ValidationError("--bytes-per-expert and --hidden with --intermediate say the same thing; give one")
        }
        guard (hidden == nil) == (intermediate == nil) else {
            throw ValidationError("--hidden and --intermediate belong together; give both")
        }
        for (flag, value, range) in [
            ("--bytes-per-expert", bytesPerExpert, 1...1e15), ("--hidden", hidden.map(Double.init), 1...1e7),
            ("--intermediate", intermediate.map(Double.init), 1...1e7), ("--bandwidth", bandwidth, 1e-6...1e9),
            ("--pass-time", passTime, 1e-3...1e9),
        ] {
            guard let value, !range.contains(value) else { continue }
            throw ValidationError(
                "\(flag) \(short(value)): must be from \(short(range.lowerBound)) to \(short(range.upperBound))")
        }
        guard expertShare > 0, expertShare <= 1 else {
            throw ValidationError("--expert-share \(expertShare): must be above 0 and at most 1")
        }
    }

    /// Bytes of one expert's weights, if they are known.
    private var size: Double? {
        if let bytesPerExpert { return bytesPerExpert }
        guard let hidden, let intermediate else { return nil }
        return 3 * Double(hidden) * Double(intermediate) * dtype.bytes
    }

    /// What the flags say.
    func costs() throws -> ReplayCosts {
        ReplayCosts(
            bytesPerExpert: size, bandwidth: bandwidth * 1e9, rowSeconds: (passTime ?? 50) / 1000,
            expertShare: expertShare)
    }

    /// The assumptions in one line.
    var fact: String {
        let pass = passTime.map { "\(short($0)) ms per pass" } ?? "50 ms per pass assumed (--pass-time)"
        let bytes =
            size.map { "\(short($0 / 1e6)) MB per expert at \(short(bandwidth)) GB/s" }
            ?? "size of an expert unknown, so transfers cost no time (--bytes-per-expert)"
        return "\(pass), \(short(expertShare * 100)) % of it in expert layers; \(bytes)"
    }
}
