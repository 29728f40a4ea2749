// Switchyard: the command line's root.

import ArgumentParser
import Foundation

@main
struct Switchyard: AsyncParsableCommand {
    static let version = "0.1.0"

    static let configuration = CommandConfiguration(
        commandName: "switchyard",
        abstract: "A Mixture-of-Experts serving engine.",
        discussion: """
            A small demo model lies inside this binary: both commands run without any download.

            Examples:
              switchyard serve
              switchyard serve --model-path ./Qwen1.5-MoE-A2.7B --port 30000
              switchyard generate --prompt "The capital of France is" --show-experts
              switchyard bench align
            """,
        version: version,
        subcommands: [
            Serve.self, Generate.self, ModelsCommand.self, ExpertsCommand.self, Bench.self, Devices.self,
        ])

    static func main() async {
        // A reader that has gone, as in `generate … | head`, is found when writing, not by a signal that kills.
        signal(SIGPIPE, SIG_IGN)
        do {
            let (arguments, warnings) = try ForeignFlags.strip(Array(CommandLine.arguments.dropFirst()))
            for warning in warnings { Terminal.error("warning: \(warning)") }
            var command = try parseAsRoot(arguments)
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
        } catch {
            exit(withError: error)
        }
    }
}
