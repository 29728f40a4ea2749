// TextAssembly: folds the engine's events for one request into its output. A value; no clock, no task.

internal import Engine
internal import Text

/// Folds the engine's events for one request into its output.
struct TextAssembly {
    /// Everything so far.
    private(set) var output: TextOutput
    private var decoder: IncrementalDecoder
    private var watcher: StopTextWatcher
    private let stopTokens: Set<Int32>
    private let keepsStopToken: Bool
    private let wantsExperts: Bool
    private let expertsStart: Int
    /// A token that will turn out to be the stop token, whose text is therefore not decoded yet.
    private var undecided: Int32?

    /// An output without tokens.
    init(_ request: TextRequest, promptIDs: [Int32], tokenizer: Tokenizer, endOfSequenceIDs: [Int32]) {
        output = TextOutput(id: request.id, promptIDs: promptIDs)
        decoder = IncrementalDecoder(tokenizer, skipSpecialTokens: request.skipSpecialTokens)
        watcher = StopTextWatcher(request.stop, keepsMatch: request.noStopTrim)
        stopTokens = Set(request.sampling.stopTokenIDs)
            .union(request.sampling.ignoreEOS ? [] : endOfSequenceIDs)
        keepsStopToken = request.noStopTrim
        wantsExperts = request.routedExpertsStart != nil
        expertsStart = request.routedExpertsStart ?? 0
    }

    /// Takes one event; afterwards `output.finish` says whether the request is done.
    mutating func append(_ event: GenerationEvent) {
        if case .routedExperts(let experts) = event { return take(experts) }
        guard output.finish == nil else { return }
        switch event {
        case .prompt(let cachedTokens, let logprobs):
            output.cachedTokens = cachedTokens
            output.promptLogprobs = logprobs
        case .token(let id, let logprobs):
            output.outputIDs.append(id)
            if let logprobs { output.outputLogprobs.append(logprobs) }
            decodeUndecided()
            guard output.finish == nil else { return }
            if stopTokens.contains(id) { undecided = id } else { decode(id) }
        case .routedExperts: break
        case .finished(let reason):
            finish(reason)
        }
    }

    /// Whether a stop text has ended the output before the engine knew, so that the experts are still to come.
    var awaitsExperts: Bool {
        guard case .stopText? = output.finish else { return false }
        return wantsExperts && output.routedExperts == nil
    }

    /// Keeps the experts of the tokens that the output has; the engine may have been some tokens further.
    private mutating func take(_ experts: RoutedExperts) {
        var experts = experts
        experts.tokens = min(experts.tokens, max(0, output.promptIDs.count + output.outputIDs.count - 1 - expertsStart))
        experts.ids.removeLast(experts.ids.count - experts.tokens * experts.layers * experts.topK)
        output.routedExperts = experts
    }

    /// Ends the output because the engine's stream ended without a reason.
    mutating func abandon() {
        append(.finished(.aborted(message: "The engine stopped before the request was done.")))
    }

    private mutating func finish(_ reason: FinishReason) {
        let end: TextFinish
        switch reason {
        case .stopToken(let id):
            if !keepsStopToken { undecided = nil }
            end = .stopToken(id)
        case .length: end = .length
        case .refused(let error): end = .aborted(error.description)
        case .aborted(let message): end = .aborted(message)
        }
        decodeUndecided()
        if output.finish == nil { release(decoder.finish()) }
        guard output.finish == nil else { return }
        output.text += watcher.finish()
        output.finish = end
    }

    private mutating func decodeUndecided() {
        guard let id = undecided else { return }
        undecided = nil
        decode(id)
    }

    private mutating func decode(_ id: Int32) {
        release(decoder.append(id))
    }

    private mutating func release(_ piece: String) {
        let decision = watcher.append(piece)
        output.text += decision.released
        if let stop = decision.matched { output.finish = .stopText(stop) }
    }

    /// Notes the time since submission.
    mutating func note(elapsed: Duration) {
        if output.timeToFirstToken == nil, !output.outputIDs.isEmpty { output.timeToFirstToken = elapsed }
        output.elapsed = elapsed
    }
}
