// Quantization: the flags `--quantization`, by sglang's name, and `--packed-cache`: what weights become in memory.

import ArgumentParser
import Compute

/// The flag `--quantization`.
enum Quantization {
    /// What it does.
    static let help = ArgumentHelp(
        "Keep weights in fewer bits: int8, or int4 for the experts' gates and ups and int8 for the rest; router, norms, "
            + "embeddings stay. (default: as stored)", valueName: "type")

    /// The precision that `text` names.
    ///
    /// - Throws: `ValidationError` that says what is possible instead.
    @Sendable static func parse(_ text: String) throws -> WeightPrecision {
        switch text {
        case "int8": return .int8
        case "int4": return .int4
        case "fp8":
            throw ValidationError(
                "weights are quantized while they are loaded, to int8 or int4; a checkpoint whose "
                    + "weights are 8-bit floats already needs no flag")
        default:
            throw ValidationError(
                "weights are quantized while they are loaded, from a checkpoint in BF16, F16, F32 "
                    + "or block-scaled F8_E4M3; use int8 or int4, or leave it out to keep them as stored")
        }
    }
}

extension WeightPrecision {
    /// How the flag spells it; nil without the flag.
    var flag: String? { self == .stored ? nil : rawValue }
}

/// The flag `--packed-cache`.
enum PackedCacheOption {
    static let help = ArgumentHelp(
        "Folder that keeps weights as they lie in memory, so that the next start maps them. (default: none)",
        valueName: "dir")

    /// Refuses a folder without a name, which would be the root.
    static func check(_ folder: String?) throws {
        if folder?.isEmpty == true { throw ValidationError("--packed-cache: must name a folder") }
    }
}
