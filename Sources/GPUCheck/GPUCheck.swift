// GPUCheck: the GPU's routing against the CPU's, and how long it takes. One self-contained binary, for machines that have a
// GPU and nothing else; `Tools/gpu` packs and runs it.

import Compute

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

@main
enum GPUCheck {
    static let usage = """
        usage: gpu-check compile [ARCHITECTURE…]     compile every kernel (no GPU needed); default sm_80 sm_90a sm_100a
               gpu-check test [--seed N] [--rounds N] [--few] [--only WORD] [--vectors FOLDER]
                                                      compare with the CPU, exactly, on fresh random inputs, or fewer
                                                      of them, and with the vectors in Tests/Golden/moe-align
               gpu-check bench [--every-launch] [--only WORD]
                                                      one table of medians
        With --only, sections of the test and cases of the table whose names contain the word, or one of several: a,b,c.
        """

    static func main() {
        var arguments = Array(CommandLine.arguments.dropFirst())
        guard let command = arguments.first else { fail(usage) }
        arguments.removeFirst()
        let only = (text("--only", in: arguments) ?? "").split(separator: ",").map(String.init)
        do {
            switch command {
            case "compile": try CompileCheck.run(arguments.isEmpty ? ["sm_80", "sm_90a", "sm_100a"] : arguments)
            case "test":
                let seed = value("--seed", in: arguments) ?? UInt64.random(in: 0..<1_000_000)
                let checks = try RouteChecks(
                    seed: seed, rounds: Int(value("--rounds", in: arguments) ?? 1),
                    areFew: arguments.contains("--few"), only: only,
                    vectors: text("--vectors", in: arguments))
                let failures = try checks.run()
                if failures > 0 { fail("\(failures) checks failed") }
            case "bench": try RouteBench(everyLaunch: arguments.contains("--every-launch"), only: only).run()
            default: fail(usage)
            }
        } catch {
            fail("\(error)")
        }
    }

    private static func text(_ name: String, in arguments: [String]) -> String? {
        arguments.firstIndex(of: name).flatMap { arguments.dropFirst($0 + 1).first }
    }

    private static func value(_ name: String, in arguments: [String]) -> UInt64? {
        text(name, in: arguments).flatMap { UInt64($0) }
    }

    private static func fail(_ message: String) -> Never {
        say(message, to: STDERR_FILENO)
        exit(1)
    }
}

/// Writes a line at once, so that what a stopped run has found is not lost.
func say(_ line: String, to descriptor: Int32 = STDOUT_FILENO) {
    var text = line + "\n"
    text.withUTF8 { bytes in _ = write(descriptor, bytes.baseAddress, bytes.count) }
}
