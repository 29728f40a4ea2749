// Engine+Recording: starting, stopping and dumping the expert distribution recorder.

public import Experts

extension Engine {
    /// What was recorded so far; nil when recording is configured off.
    public func recorded() -> Snapshot? { recordings?.status?.snapshot }

    /// What is being recorded, and what that costs; nil when recording is configured off.
    public func recordingStatus() -> RecordingStatus? { recordings?.status }

    /// Replaces the recorder by one at rest, or by none: for benchmarks, which compare them in one process.
    package func replaceRecorder(_ settings: RecorderSettings?) {
        recordings?.replaceRecorder(settings)
    }

    /// Resets the recorder and begins to record.
    public func startRecording() throws(EngineError) {
        guard recordings?.start() == true else { throw .recordingDisabled }
    }

    /// Stops recording; what was recorded is kept.
    public func stopRecording() throws(EngineError) {
        guard recordings?.stop() == true else { throw .recordingDisabled }
    }

    /// Takes what was recorded and writes it to a file. If that fails, what was taken is put back.
    ///
    /// - Returns: the file's path.
    public func dumpRecord() async throws(EngineError) -> String {
        guard let taken = recordings?.dump() else { throw .recordingDisabled }
        // The file is written off the engine's thread: a slow disk must not hold up a step.
        do {
            let path = try await DumpFile.write(
                taken.snapshot, model: model.architecture, folder: configuration.recorderDirectory)
            recordings?.lastDump = path
            return path
        } catch {
            recordings?.restore(taken)
            throw error
        }
    }
}
