// BenchModel: `switchyard bench model`: how fast a model computes, and how close that is to what the machine can do.

import ArgumentParser
import Compute
import DemoModel
import Foundation
import Measure
import Models

/// `switchyard bench model`.
struct BenchModel: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "model",
        abstract: "A model's speed, decoding and computing prompts, beside this machine's limits.",
        discussion: """
            decode: one token for each of some sequences, logits and the best token included; prompt: so many tokens in one \
            pass. Tokens are random. Bytes are those that a pass must read: dense weights, the experts that its tokens \
            chose, keys and values. The limits are measured in turn with the passes: reading as many bytes, in pages like \
            the weights', and multiply-adds of the numbers that are multiplied. limit: the time that the tighter of the two allows, of the time taken.

            Examples:
              switchyard bench model
              switchyard bench model --model-path ~/models/OLMoE-1B-7B --batch 1,8 --prompt 512 --threads 4
              switchyard bench model --json
            """)

    @Option(
        name: [.customLong("model-path"), .customLong("model")],
        help: ArgumentHelp("Hugging Face model folder. (default: the demo model in this binary)", valueName: "dir"))
    var modelPath: String?

    @OptionGroup
    var weights: WeightOptions

    @Option(
        help: ArgumentHelp(
            "CPU threads that compute. (default: one for each CPU that the process may use)", valueName: "count"))
    var threads: Int?

    @Option(help: ArgumentHelp("avx512bf16, avx512, avx2 or baseline. (default: the best)", valueName: "name"))
    var instructionSet: String?

    @Option(help: ArgumentHelp("Sequences that decode together; 0 for none.", valueName: "list"))
    var batch = CountList([1, 4, 16, 32])

    @Option(help: ArgumentHelp("Tokens in a prompt; 0 for none.", valueName: "list"))
    var prompt = CountList([128, 512])

    @Option(help: ArgumentHelp("Tokens before those that are decoded.", valueName: "tokens"))
    var context = 128

    @Option(help: ArgumentHelp("Time for each case, at least five rounds.", valueName: "seconds"))
    var seconds = 2.0

    @Flag(help: "Print one JSON object instead of a table.")
    var json = false

    func validate() throws {
        try EngineOptions.check("--threads", threads, in: 1...1024)
        try EngineOptions.check("--context", context, in: 0...1 << 20)
        try batch.check("--batch", in: 0...1 << 12)
        try prompt.check("--prompt", in: 0...1 << 16)
        guard seconds > 0, seconds <= 3600 else {
            throw ValidationError("--seconds \(seconds): must be above 0, and at most 3600")
        }
    }

    func run() throws {
        let files = if let modelPath { try ModelFiles(directory: modelPath) } else { ModelFiles.demo }
        let numbers = try ModelConfiguration(files)
        let (batches, prompts) = (batch.values.filter { $0 > 0 }, prompt.values.filter { $0 > 0 })
        let positions = max(context + 1, prompts.max() ?? 1)
        guard positions <= numbers.maxPositions else {
            throw ValidationError(
                "--context, --prompt: the model has \(numbers.maxPositions) positions, \(positions) are asked for")
        }
        guard let backend = CPUBackend(threads: threads, instructionSet: instructionSet, pinsThreads: true) else {
            throw ValidationError(
                "--instruction-set \(instructionSet ?? ""): not on this machine; leave it away for the best")
        }
        defer { backend.stop() }
        let bar = ProgressBar()
        let passes: ModelPasses
        do {
            passes = try ModelPasses(
                files, configuration: numbers,
                source: weights.loadFormat == .dummy
                    ? DummyWeights(numbers, seed: 1, lanes: backend.lanes) : try Checkpoint(files), backend: backend,
                precision: weights.precision.precision, cacheType: weights.precision.cacheType,
                packedCache: weights.packedCache, sequences: max(1, batches.max() ?? 1),
                positions: positions, progress: bar.update)
        } catch {
            bar.abandon()
            throw error
        }
        bar.finish()
        let steps = StepProgress(steps: batches.count + prompts.count)
        var cases: [ModelSpeed.Case] = []
        for sequences in batches {
            for sequence in 0..<sequences where context > 0 { passes.prompt(context, sequence: sequence) }
            cases.append(
                measure(passes, "decode", sequences: sequences, tokens: sequences) {
                    passes.decode(sequences, context: context)
                    let positions = sequences * (context + 1)
                    return passes.cost(
                        tokens: sequences, isPrompt: false, rows: sequences, pairs: positions, positions: positions)
                })
            steps.advance()
        }
        for tokens in prompts {
            cases.append(
                measure(passes, "prompt", sequences: 1, tokens: tokens) {
                    passes.prompt(tokens)
                    return passes.cost(
                        tokens: tokens, isPrompt: true, rows: 1, pairs: tokens * (tokens + 1) / 2, positions: tokens)
                })
            steps.advance()
        }
        steps.finish()
        try ModelSpeed(
            model: files.path, instructionSet: backend.device.instructionSet, threads: backend.device.threads,
            context: context, precision: weights.precision.precision.rawValue, cases: cases
        ).show(json: json)
    }

    /// Rounds of some passes and both limits, in turn.
    private func measure(
        _ passes: ModelPasses, _ work: String, sequences: Int, tokens: Int, _ pass: () -> PassCost
    ) -> ModelSpeed.Case {
        // The first pass warms up, and says how many bytes are read again and again.
        let footprint = min(Int(pass().bytes), 1 << 29)
        let probe = LimitProbe(
            threads: passes.backend.device.threads, footprint: footprint, precision: weights.precision.precision)
        defer { probe.stop() }
        let estimate = Measure.seconds { _ = pass() }
        let repeats = max(1, Int(0.02 / estimate))
        let rounds = max(5, Int(seconds / (estimate * Double(repeats) * 1.5)))
        var found: [ModelSpeed.Round] = []
        for _ in 0..<rounds {
            var cost = PassCost()
            let time = Measure.seconds { for _ in 0..<repeats { cost = cost + pass() } }
            found.append(
                ModelSpeed.Round(
                    seconds: time / Double(repeats), bytes: cost.bytes / Double(repeats),
                    operations: cost.operations / Double(repeats), readBandwidth: probe.readBandwidth(),
                    peak: probe.peak()))
        }
        return ModelSpeed.Case(work, sequences: sequences, tokens: tokens, rounds: found)
    }
}
