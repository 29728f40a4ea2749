// LoadedModel: an engine with its text side, from a folder or from the demo model inside the binary.

import ArgumentParser
import DemoModel
import Engine
import Experts
import Models
import Server

/// An engine with its text side.
struct LoadedModel {
    /// Computes.
    var engine: Engine
    /// Text in front of `engine`.
    var generator: TextGenerator
    /// The folder as the user wrote it, or the demo model's name.
    var path: String

    /// Loads what `options` name, showing the progress.
    ///
    /// - Throws: an error whose description names the file at fault.
    init(_ options: EngineOptions) async throws {
        let files =
            if let path = options.modelPath { try ModelFiles(directory: path) } else { ModelFiles.demo }
        // The small files first: a broken tokenizer should not cost the time to read the weights.
        let text = try Self.text(files, options)
        if let problem = text.templateProblem { Terminal.error("warning: \(problem)") }
        let bar = ProgressBar()
        do {
            engine = try await Engine.load(
                files, configuration: try options.configuration(), threads: options.threads,
                progress: { bar.update($0) }, report: { Terminal.error($0) })
        } catch let error as ExpertFileError {
            bar.abandon()
            throw ValidationError("--init-expert-location: \(error)")
        } catch {
            bar.abandon()
            throw error
        }
        bar.finish()
        generator = TextGenerator(engine: engine, text: text)
        path = files.path
    }

    /// The text side of the model; weights that are made up do without one of their own.
    private static func text(_ files: ModelFiles, _ options: EngineOptions) throws -> ModelText {
        guard options.weights.loadFormat == .dummy, try files.bytes("tokenizer.json") == nil else {
            return try ModelText(files: files)
        }
        Terminal.error("warning: \(files.path) has no tokenizer.json: text passes the demo model's tokenizer")
        return try ModelText(files: .demo)
    }
}
