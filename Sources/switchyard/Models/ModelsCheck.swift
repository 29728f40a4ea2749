// ModelsCheck: `switchyard models check`: size, need, fit, and every problem of a model folder, from headers alone.

import ArgumentParser
import Compute
import Engine
import Foundation
import Models
import Server

/// `switchyard models check`.
struct ModelsCheck: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Print architecture, parameters, memory needed, tokens that fit, and every problem found.",
        discussion: """
            Reads config.json, the tokenizer and the headers of the weights; no weight. Ends with status 1 when the model \
            cannot be served on this machine.

            Examples:
              switchyard models check ./Qwen1.5-MoE-A2.7B
              switchyard models check ./DeepSeek-V3 --context-length 8192 --json
              switchyard models check ./Qwen3-30B-A3B --load-format dummy
              switchyard models check ./Qwen3-30B-A3B --quantization int4
            """)

    @Argument(help: ArgumentHelp("Hugging Face model folder.", valueName: "dir"))
    var folder: String

    @Option(help: "dummy needs a config.json only, as `serve --load-format dummy` does.")
    var loadFormat = LoadFormatChoice.auto

    @OptionGroup
    var precision: PrecisionOptions

    @Option(
        help: ArgumentHelp(
            "Longest sequence in tokens, prompt and output together. (default: the model's)", valueName: "tokens"))
    var contextLength: Int?

    @Flag(help: "Print one JSON object instead.")
    var json = false

    func validate() throws {
        try EngineOptions.check("--context-length", contextLength, in: 1...1 << 24)
    }

    func run() throws {
        let files = try ModelFiles(directory: folder)
        var settings = EngineConfiguration()
        settings.loadFormat = loadFormat.format
        settings.precision = precision.precision
        settings.cacheType = precision.cacheType
        settings.contextLength = contextLength
        let check = ModelCheck(files, settings)
        var problems = check.problems.map(\.description)
        do {
            let text = try ModelText(files: files)
            if let problem = text.templateProblem { problems.append(problem) }
        } catch {
            if loadFormat != .dummy { problems.append("\(error)") }
        }
        let report = ModelReport(check, folder: folder, problems: problems)
        if json {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.withoutEscapingSlashes, .sortedKeys, .prettyPrinted]
            Terminal.print(String(decoding: try encoder.encode(report), as: UTF8.self))
        } else {
            Terminal.write(report.text)
        }
        if !report.isServable { throw ExitCode.failure }
    }
}
