// STUB: replaced by the real engine; its public face is final.

public import Models

/// Runs requests in shared batches.
public actor Engine {
    /// What was loaded, and where it runs.
    public nonisolated let model = ModelDescription()
    private init() {}

    /// Loads a model.
    ///
    /// - Parameters:
    ///   - files: the model's files.
    ///   - configuration: limits and switches.
    ///   - threads: CPU threads to compute with; nil takes all cores.
    ///   - progress: called now and then, on any thread.
    /// - Throws: a typed error that names file, tensor, found and expected.
    public static func load(
        _ files: ModelFiles, configuration: EngineConfiguration = EngineConfiguration(), threads: Int? = nil,
        progress: @escaping @Sendable (LoadProgress) -> Void = { _ in }
    ) async throws -> Engine { Engine() }

    /// Queues a request. Dropping the stream cancels it.
    ///
    /// - Throws: `EngineError` when the request is refused.
    public func submit(_ request: GenerationRequest) throws(EngineError) -> AsyncStream<GenerationEvent> {
        throw .shuttingDown
    }
    /// Ends the request `id`, if there is one; its stream finishes with `.aborted`.
    public func cancel(_ id: String) {}
    /// The state at this moment.
    public func statistics() -> EngineStatistics { EngineStatistics() }
    /// Tokens per expert recorded so far: `[layers, experts]`, row-major; empty when nothing was recorded.
    public func recordedCounts() -> [[Int]] { [] }
    /// Resets the recorder and begins to record.
    public func startRecording() throws(EngineError) {}
    /// Stops recording; what was recorded is kept.
    public func stopRecording() throws(EngineError) {}
    /// Writes what was recorded to a file, then resets.
    ///
    /// - Returns: the file's path.
    public func dumpRecord() async throws(EngineError) -> String { "" }
    /// Refuses new requests, finishes those that run, and returns when the last is done or `deadline` has passed
    /// (what still runs then is aborted).
    public func shutdown(deadline: Duration) async {}
}
