// ModelsCommand: `switchyard models`: what a model folder is, before anything is loaded.

import ArgumentParser

/// `switchyard models`.
struct ModelsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "models",
        abstract: "Say what a model is, what it takes, and what is wrong with its files.",
        discussion: """
            Examples:
              switchyard models check ./Qwen1.5-MoE-A2.7B
              switchyard models check ./DeepSeek-V2-Lite --json
            """,
        subcommands: [ModelsCheck.self])
}
