// PrecisionOptions: the flags `--dtype`, `--quantization` and `--kv-cache-dtype`, by sglang's names, and `--packed-cache`: what weights,
// keys and values become in memory.

import ArgumentParser
import Compute

/// In what products are computed.
enum DTypeChoice: String, ExpressibleByArgument, CaseIterable {
    case auto, float32, bfloat16
}

/// What keys and values are kept as.
enum CacheTypeChoice: String, ExpressibleByArgument, CaseIterable {
    case auto, float32, bfloat16

    /// Takes sglang's short name as well.
    init?(argument: String) { self.init(rawValue: argument == "bf16" ? "bfloat16" : argument) }
}

/// What weights, keys and values become in memory, and what they are multiplied with.
struct PrecisionOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Numbers that are multiplied: float32 (auto), or bfloat16, up to twice as fast on CPUs with AVX512_BF16 and VBMI; "
                + "wider weights are rounded to it. Sums, router and attention are float32.",
            valueName: "type"))
    var dtype = DTypeChoice.auto

    @Option(
        help: ArgumentHelp(
            "Keep weights in fewer bits: int8 in 8.5, int5 in 5.3 (int4 means the same: fewer bits would cost more than 3 % "
                + "of perplexity); router, norms, embeddings stay. They are multiplied in bfloat16. (default: as stored)",
            valueName: "type"),
        transform: parse)
    var quantization: WeightPrecision?

    @Option(
        help: ArgumentHelp(
            "What keys and values are kept as: bfloat16 (or bf16) takes half the memory, and attention reads half as much. "
                + "auto: bfloat16 where weights are multiplied in it, else float32.", valueName: "type"))
    var kvCacheDtype = CacheTypeChoice.auto

    func validate() throws {
        if let quantization, dtype == .float32 {
            throw ValidationError(
                "--dtype float32: --quantization \(quantization.rawValue) multiplies in bfloat16; leave one of the two out"
            )
        }
    }

    /// How exactly weights are kept and multiplied.
    var precision: WeightPrecision { quantization ?? (dtype == .bfloat16 ? .bfloat16 : .stored) }

    /// What keys and values are kept as.
    var cacheType: CacheType {
        switch kvCacheDtype {
        case .auto: precision == .stored ? .float32 : .bfloat16
        case .float32: .float32
        case .bfloat16: .bfloat16
        }
    }

    /// The precision that `text` names.
    ///
    /// - Throws: `ValidationError` that says what is possible instead.
    @Sendable private static func parse(_ text: String) throws -> WeightPrecision {
        switch text {
        case "int8": return .int8
        case "int5", "int4": return .int5
        case "fp8":
            throw ValidationError(
                "weights are quantized while they are loaded, to int8 or int5; a checkpoint whose "
                    + "weights are 8-bit floats already needs no flag")
        default:
            throw ValidationError(
                "weights are quantized while they are loaded, from a checkpoint in BF16, F16, F32 "
                    + "or block-scaled F8_E4M3; use int8 or int5, or leave it out to keep them as stored")
        }
    }
}

/// Where weights come from, what they become, and where that is kept.
struct WeightOptions: ParsableArguments {
    @Option(help: "auto reads the model's safetensors; dummy makes seeded random weights of any config.json.")
    var loadFormat = LoadFormatChoice.auto

    @OptionGroup
    var precision: PrecisionOptions

    @Option(
        help: ArgumentHelp(
            "Folder that keeps weights as they lie in memory, so that the next start maps them. (default: none)",
            valueName: "dir"))
    var packedCache: String?

    func validate() throws {
        // A folder without a name would be the root.
        if packedCache?.isEmpty == true { throw ValidationError("--packed-cache: must name a folder") }
    }
}
