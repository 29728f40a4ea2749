/// The engine's state at one moment.
public struct EngineStatistics: Sendable, Equatable {
    /// Sequences in the batch.
    public var runningRequests = 0
    /// Requests that wait for a place.
    public var queuedRequests = 0
    /// KV cache capacity in tokens.
    public var maxTotalTokens = 0
    /// KV cache tokens that running requests use, whole pages counted.
    public var usedTokens = 0
    /// Longest sequence allowed, prompt and output together.
    public var contextLength = 0
    /// Requests accepted since start.
    public var requestsTotal = 0
    /// Prompt tokens computed since start; what is computed again after a preemption is not counted again.
    public var promptTokensTotal = 0
    /// Prompt tokens since start whose keys and values were found in the cache.
    public var cachedTokensTotal = 0
    /// How often a running request had to give up its place and wait again.
    public var preemptionsTotal = 0
    /// Tokens generated since start.
    public var generatedTokensTotal = 0
    /// Forward passes since start.
    public var passesTotal = 0
    /// Generated tokens per second, over the last second of work.
    public var generationThroughput = 0.0
    /// Whether the expert distribution is being recorded.
    public var isRecording = false

    public init() {}
}
