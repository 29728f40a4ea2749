// Sequence: one request's state from its place in the batch to its last token.
//
// Owner: the engine.

/// A request that runs. A class, so that the pass that reads it never copies its tokens.
final class Sequence {
    let request: GenerationRequest
    /// Pages for the whole length.
    let pages: [Int32]
    /// Row of the page tables.
    let slot: Int
    /// How long `tokens` may become.
    let lengthLimit: Int
    let events: AsyncStream<GenerationEvent>.Continuation
    /// Distinguishes requests that reuse an id.
    let number: Int
    /// The prompt and what was generated.
    var tokens: [Int32]
    /// Tokens whose keys and values are in the cache.
    var computed = 0
    /// Ids that end the generation.
    let stopIDs: Set<Int32>
    var sampler: SamplerState
    var promptLogprobs: [PositionLogprobs] = []
    /// Logical experts of the tokens from `request.routedExpertsStart` on, `[tokens, L, K]`.
    var routedExperts: [Int32] = []
    /// Why the sequence leaves the batch after this step.
    var finish: FinishReason?

    init(
        _ waiting: WaitingRequest, pages: [Int32], slot: Int, endOfSequence: Set<Int32>, sampler: SamplerState
    ) {
        let sampling = waiting.request.sampling
        stopIDs = (sampling.ignoreEOS ? [] : endOfSequence).union(sampling.stopTokenIDs)
        request = waiting.request
        number = waiting.number
        lengthLimit = waiting.lengthLimit
        events = waiting.events
        tokens = waiting.request.promptIDs
        tokens.reserveCapacity(waiting.lengthLimit)
        self.pages = pages
        self.slot = slot
        self.sampler = sampler
    }

    /// The experts of all tokens that were fed, if asked for: those of the last one are left out.
    func allRoutedExperts(layers: Int, topK: Int) -> RoutedExperts? {
        guard let start = request.routedExpertsStart else { return nil }
        let rows = min(routedExperts.count / (layers * topK), max(0, tokens.count - 1 - start))
        return RoutedExperts(
            tokens: rows, layers: layers, topK: topK, ids: Array(routedExperts.prefix(rows * layers * topK)))
    }

    /// Tokens generated so far.
    var generated: Int { tokens.count - request.promptIDs.count }

    /// First position whose logits are wanted for the prompt's log-probabilities; those of position p are for the token
    /// at p + 1.
    var firstPromptLogit: Int? {
        request.logprobs?.promptStart.map { max(0, $0 - 1) }
    }
}

/// A request that waits for a place.
struct WaitingRequest {
    let number: Int
    let request: GenerationRequest
    let lengthLimit: Int
    let events: AsyncStream<GenerationEvent>.Continuation
}
