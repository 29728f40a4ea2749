// InferenceEngine: what the server asks of an engine, so that its handlers can be tested with a scripted one.

public import Engine

/// What the server asks of an engine.
public protocol InferenceEngine: Sendable {
    /// What was loaded, and where it runs.
    var model: ModelDescription { get }
    /// Queues requests, all or none; dropping the stream cancels them.
    func submit(
        _ requests: [GenerationRequest], pace: GenerationStream.Pace
    ) async throws(EngineError) -> GenerationStream
    /// Ends the request `id`, if there is one.
    func cancel(_ id: String) async
    /// The state at this moment.
    func statistics() async -> EngineStatistics
    /// Empties the cache of prompts and outputs; false, and nothing happens, while requests run or wait.
    func flushCache() async -> Bool
    /// Resets the recorder and begins to record.
    func startRecording() async throws(EngineError)
    /// Stops recording; what was recorded is kept.
    func stopRecording() async throws(EngineError)
    /// What is being recorded, and what that costs; nil when recording is configured off.
    func recordingStatus() async -> RecordingStatus?
    /// Writes what was recorded to a file, resets, and returns the file's path.
    func dumpRecord() async throws(EngineError) -> String
    /// Refuses new requests and returns when the running ones are done, or aborted at the deadline.
    func shutdown(deadline: Duration) async
}

extension Engine: InferenceEngine {}
