// TextGenerator: text or ids in, text out. Used by the HTTP routes and by `switchyard generate`.
//
// Past `Engine.submit` there is no text; before it there are no pages.

public import Engine
internal import Text

/// Text or ids in, text out.
public final class TextGenerator: Sendable {
    /// Tokenizer, chat template and recommended sampling values.
    public let text: ModelText
    /// What was loaded, and where it runs.
    public let model: ModelDescription
    /// Times and counts of the requests.
    public let metrics = ServingMetrics()
    private let engine: any InferenceEngine
    private let active = ActiveRequests()

    /// A generator of text in front of `engine`.
    public init(engine: any InferenceEngine, text: ModelText) {
        self.engine = engine
        self.text = text
        model = engine.model
    }

    /// Submits `requests` in order.
    ///
    /// - Parameters:
    ///   - requests: what to generate.
    ///   - interval: after how many tokens, beside the first and the last, an output is shown; nil shows it when it is done.
    /// - Returns: the outputs, as they grow.
    /// - Throws: `EngineError` or `RequestError` when one of them is refused; none of them runs then.
    public func generate(_ requests: [TextRequest], interval: Int? = 1) async throws -> TextBatch {
        let start = ContinuousClock.now
        let registration = active.add(requests)
        var submissions: [GenerationRequest] = []
        var assemblies: [TextAssembly] = []
        for request in requests {
            let ids = try encode(request)
            var submission = GenerationRequest(
                id: request.id, promptIDs: ids, sampling: request.sampling, logprobs: request.logprobs)
            if request.fillsContext { submission.sampling.maxNewTokens = max(model.contextLength - ids.count, 1) }
            submission.routedExpertsStart = request.routedExpertsStart
            submission.priority = request.priority
            submissions.append(submission)
            assemblies.append(
                TextAssembly(
                    request, promptIDs: ids, tokenizer: text.tokenizer, endOfSequenceIDs: model.endOfSequenceIDs))
        }
        // Stop texts are looked for as tokens come.
        let isWatched = requests.contains { !$0.stop.isEmpty }
        let pace = isWatched ? .tokens(1) : interval.map { GenerationStream.Pace.tokens($0) } ?? .finished
        let stream = try await engine.submit(submissions, pace: pace)
        return TextBatch(stream, assemblies, metrics: metrics, start: start, registration: registration)
    }

    /// Ends the request `id`, or all those of the batch that was given `id` as its common name.
    public func abort(_ id: String) async {
        for name in active.names(for: id) { await engine.cancel(name) }
    }

    /// Ends all requests.
    public func abortAll() async {
        for name in active.all { await engine.cancel(name) }
    }

    /// Token ids of the request's prompt.
    ///
    /// - Throws: `RequestError` when the request asks for logprobs of prompt positions that do not exist.
    private func encode(_ request: TextRequest) throws(RequestError) -> [Int32] {
        let ids =
            switch request.prompt {
            case .text(let text): self.text.tokenizer.encode(text, addSpecialTokens: true)
            case .templated(let text): self.text.tokenizer.encode(text)
            case .ids(let ids): ids
            }
        if let start = request.logprobs?.promptStart, start > ids.count {
            throw RequestError(
                "logprob_start_len is \(start), but the prompt has \(ids.count) tokens: "
                    + "send -1 to \(ids.count).", field: "logprob_start_len")
        }
        return ids
    }
}
