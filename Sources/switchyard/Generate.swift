// Generate: `switchyard generate`: one prompt, on this terminal, without a server.

import ArgumentParser
import Engine
import Experts
import Foundation
import Server
import Text

/// `switchyard generate`.
struct Generate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Continue one prompt and print the text as it comes.",
        discussion: """
            Examples:
              switchyard generate --prompt "The capital of France is"
              switchyard generate --chat --prompt "Why is the sky blue?"
              echo "def main():" | switchyard generate --prompt - --temperature 0 --json
              switchyard generate --prompt "import os" --show-experts

            Sampling values that are not given are those of the model's generation_config.json.
            """)

    @OptionGroup(title: "Model and limits")
    var engineOptions: EngineOptions

    @Option(
        name: .shortAndLong, parsing: .unconditional,
        help: ArgumentHelp("Text to continue; - reads standard input.", valueName: "text"))
    var prompt: String

    @Flag(help: "Wrap the prompt as a user's message with the model's chat template.")
    var chat = false

    @Option(help: ArgumentHelp("The most tokens to generate.", valueName: "tokens"))
    var maxNewTokens = 128

    @Option(help: ArgumentHelp("Randomness; 0 always takes the most probable token.", valueName: "number"))
    var temperature: Float?

    @Option(help: ArgumentHelp("Keeps the most probable tokens up to this total, above 0 to 1.", valueName: "share"))
    var topP: Float?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Keeps this many most probable tokens; -1 keeps all.", valueName: "count"))
    var topK: Int?

    @Option(help: ArgumentHelp("Makes random choices repeatable. (default: --random-seed)", valueName: "number"))
    var seed: UInt64?

    @Option(
        parsing: .unconditionalSingleValue,
        help: ArgumentHelp("Text that ends the output; may be repeated.", valueName: "text"))
    var stop: [String] = []

    @Flag(help: "Print one JSON object at the end instead of text.")
    var json = false

    @Flag(help: "Afterwards print which experts were busy, layer by layer.")
    var showExperts = false

    func validate() throws {
        try EngineOptions.check("--max-new-tokens", maxNewTokens, in: 1...1 << 24)
        if showExperts, engineOptions.expertDistributionRecorderMode == .off {
            throw ValidationError("--show-experts needs --expert-distribution-recorder-mode stat")
        }
    }

    func run() async throws {
        if let line = engineOptions.fallback { Terminal.error(line) }
        let model = try await LoadedModel(engineOptions)
        let request = try makeRequest(model.generator.text)
        if showExperts { try await model.engine.startRecording() }
        let batch = try await model.generator.generate([request])
        var latest: TextOutput?
        var shown = 0
        for try await updates in batch {
            guard let output = updates.last?.output else { continue }
            latest = output
            if !json { Terminal.write(String(decoding: output.text.utf8.dropFirst(shown), as: UTF8.self)) }
            shown = output.text.utf8.count
        }
        guard let output = latest else { throw GenerateError(reason: "the engine gave no answer") }
        if json {
            Terminal.print(try jsonReport(output.report))
        } else {
            Terminal.print("")
        }
        if showExperts {
            // Dense layers have no experts to show.
            let layers = model.engine.model.sparseLayers
            let map = await model.engine.recorded().map { recorded in
                let experts = recorded.logicalExperts
                return TerminalHeatMap().text(
                    layers.flatMap { recorded.totals[$0 * experts..<($0 + 1) * experts] }, experts: experts,
                    labels: layers.map { "layer \($0)" })
            }
            // Beside JSON the map goes where it does not spoil the object.
            if let map { json ? Terminal.writeError(map) : Terminal.write("\n" + map) }
        }
        if !json, Terminal.errorIsInteractive { Terminal.error(output.summary) }
        await model.engine.shutdown(deadline: .zero)
        if case .aborted(let message)? = output.finish { throw GenerateError(reason: message) }
    }

    private func makeRequest(_ text: ModelText) throws -> TextRequest {
        var prompt = prompt
        if prompt == "-" {
            prompt = String(decoding: FileHandle.standardInput.readDataToEndOfFile(), as: UTF8.self)
        }
        var sampling = text.defaults.samplingParameters
        sampling.maxNewTokens = maxNewTokens
        if let temperature { sampling.temperature = temperature }
        if let topP { sampling.topP = topP }
        if let topK { sampling.topK = topK }
        sampling.seed = seed
        let message = TemplateValue.object([("role", .string("user")), ("content", .string(prompt))])
        var request = TextRequest(
            prompt: chat ? .templated(try text.prompt(messages: .array([message]))) : .text(prompt),
            sampling: sampling)
        request.stop = stop
        return request
    }
}

/// A generation that came to nothing.
private struct GenerateError: Error, CustomStringConvertible {
    var reason: String

    var description: String { "generate: \(reason)" }
}
