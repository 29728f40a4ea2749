// ForeignFlags: flags that sglang users have on their command lines and that mean nothing here: arithmetic is float32
// on one CPU, whatever they say.
//
// They are taken off the command line before it is parsed, with one warning each. What would change the answers or
// the layout of the server is not in this table: it stays an error.

import ArgumentParser

/// Flags that are accepted and ignored.
enum ForeignFlags {
    /// What a flag looks like, and what we do with it.
    private enum Kind {
        /// No value; ignored.
        case flag
        /// One value; ignored.
        case value
        /// No value; what it asks for is always so.
        case granted
        /// One value, which must be this one.
        case only(String)
    }

    private static let kinds: [String: Kind] = [
        "--attention-backend": .value,
        "--cuda-graph-bs": .value,
        "--cuda-graph-max-bs": .value,
        "--data-parallel-size": .only("1"),
        "--decode-attention-backend": .value,
        "--deepep-config": .value,
        "--deepep-mode": .value,
        "--disable-cuda-graph": .flag,
        "--disable-cuda-graph-padding": .flag,
        "--disable-custom-all-reduce": .flag,
        "--disable-overlap-schedule": .flag,
        "--disable-shared-experts-fusion": .flag,
        "--dp": .only("1"),
        "--dp-size": .only("1"),
        "--enable-metrics": .granted,
        "--enable-mixed-chunk": .flag,
        "--enable-nccl-nvls": .flag,
        "--enable-p2p-check": .flag,
        "--enable-return-routed-experts": .granted,
        "--enable-torch-compile": .flag,
        "--ep": .only("1"),
        "--ep-dispatch-algorithm": .only("dynamic"),
        "--ep-size": .only("1"),
        "--expert-parallel-size": .only("1"),
        "--log-requests": .flag,
        "--mem-fraction-static": .value,
        "--moe-a2a-backend": .only("none"),
        "--moe-runner-backend": .value,
        "--nccl-port": .value,
        "--nnodes": .only("1"),
        "--node-rank": .only("0"),
        "--page-size": .value,
        "--pp-size": .only("1"),
        "--prefill-attention-backend": .value,
        "--sampling-backend": .value,
        "--schedule-conservativeness": .value,
        "--skip-server-warmup": .flag,
        "--tensor-parallel-size": .only("1"),
        "--torch-compile-max-bs": .value,
        "--tp": .only("1"),
        "--tp-size": .only("1"),
        "--trust-remote-code": .flag,
        "--watchdog-timeout": .value,
    ]

    /// Takes foreign flags out of `arguments`.
    ///
    /// - Parameter arguments: the command line after the program's name.
    /// - Returns: what is left, and a warning for each flag that was taken out and does nothing.
    /// - Throws: `ValidationError` when a flag has a value that would mean something, or none.
    static func strip(_ arguments: [String]) throws -> (arguments: [String], warnings: [String]) {
        var kept: [String] = []
        var warnings: [String] = []
        var rest = ArraySlice(arguments)
        while let argument = rest.popFirst() {
            if argument == "--" { return (kept + [argument] + rest, warnings) }
            let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard let kind = kinds[parts[0]] else {
                kept.append(argument)
                // The value of a flag of ours is not a flag, whatever it looks like.
                if parts.count == 1, argument == "--prompt" || argument == "-p", let value = rest.popFirst() {
                    kept.append(value)
                }
                continue
            }
            if case .granted = kind { continue }
            if case .flag = kind {
                warnings.append("\(parts[0]) is ignored: it has no meaning on the CPU")
                continue
            }
            guard let value = parts.count > 1 ? parts[1] : rest.popFirst(), !value.isEmpty else {
                throw ValidationError("\(parts[0]) needs a value")
            }
            if case .only(let allowed) = kind {
                guard value == allowed else {
                    throw ValidationError(
                        "\(parts[0]) \(value): this version computes in one process on one CPU; leave it out or "
                            + "use \(allowed)")
                }
            } else {
                warnings.append("\(parts[0]) is ignored: it has no meaning on the CPU")
            }
        }
        return (kept, warnings)
    }
}
