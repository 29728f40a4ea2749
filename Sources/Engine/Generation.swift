// Generation: one request's state beside its tokens: what was asked, what is remembered for it, where its events go.
//
// Owner: the engine.

/// A request that waits or runs.
final class Generation {
    let request: GenerationRequest
    private let source: GenerationSource
    private let index: Int
    /// The tokens, and how far they are computed.
    let sequence: Sequence
    /// Ids that end the generation.
    let stopIDs: Set<Int32>
    /// Ids that may not come before `minNewTokens` tokens exist: the end of the sequence too, even if it is ignored.
    let suppressedIDs: Set<Int32>
    var sampler: SamplerState
    var promptLogprobs: [PositionLogprobs] = []
    /// Logical experts of the tokens from `request.routedExpertsStart` on, `[tokens, L, K]`.
    var routedExperts: [Int32] = []

    init(
        _ request: GenerationRequest, sequence: Sequence, endOfSequence: Set<Int32>, seed: UInt64,
        source: GenerationSource, index: Int
    ) {
        self.request = request
        self.sequence = sequence
        self.source = source
        self.index = index
        suppressedIDs = endOfSequence.union(request.sampling.stopTokenIDs)
        stopIDs = request.sampling.ignoreEOS ? Set(request.sampling.stopTokenIDs) : suppressedIDs
        sampler = SamplerState(random: RandomSequence(seed: seed))
    }

    /// Tells whoever asked.
    func send(_ event: GenerationEvent) { source.send(event, of: index) }

    /// Tokens generated so far.
    var generated: Int { sequence.tokens.count - sequence.promptCount }

    /// The experts of all tokens that were fed, if asked for: those of the last one are left out.
    func allRoutedExperts(layers: Int, topK: Int) -> RoutedExperts? {
        guard let start = request.routedExpertsStart else { return nil }
        let rows = min(routedExperts.count / max(1, layers * topK), max(0, sequence.tokens.count - 1 - start))
        return RoutedExperts(
            tokens: rows, layers: layers, topK: topK, ids: Array(routedExperts.prefix(rows * layers * topK)))
    }

    /// The prompt's log-probabilities from the position that was asked for; the first token has none.
    func takePromptLogprobs() -> [PositionLogprobs] {
        guard let start = request.logprobs?.promptStart, start < request.promptIDs.count else { return [] }
        defer { promptLogprobs = [] }
        guard start == 0 else { return promptLogprobs }
        let first = PositionLogprobs(token: TokenLogprob(id: request.promptIDs[0], logprob: .nan))
        return [first] + promptLogprobs
    }
}
