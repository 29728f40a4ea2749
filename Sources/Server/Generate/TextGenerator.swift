// TextGenerator: text or ids in, text out. Used by the HTTP routes and by `switchyard generate`.
//
// Past `Engine.submit` there is no text; before it there are no pages. One task per batch reads the engine's streams.

public import Engine
internal import Synchronization
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
    private let active = Mutex(ActiveRequests())

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
    ///   - isStreamed: whether outputs are published as they grow; otherwise each is published once, when it is done.
    /// - Returns: the outputs, as they grow.
    /// - Throws: `EngineError` or `RequestError` when one of them is refused; none of them runs then.
    public func generate(_ requests: [TextRequest], isStreamed: Bool = true) async throws -> TextBatch {
        let start = ContinuousClock.now
        let ticket = active.withLock { $0.add(requests) }
        var runs: [Run] = []
        do {
            for request in requests {
                let ids = try encode(request)
                var sampling = request.sampling
                if request.fillsContext { sampling.maxNewTokens = max(model.contextLength - ids.count, 1) }
                var submission = GenerationRequest(
                    id: request.id, promptIDs: ids, sampling: sampling, logprobs: request.logprobs)
                submission.routedExpertsStart = request.routedExpertsStart
                submission.priority = request.priority
                let stream = try await engine.submit(submission)
                let assembly = TextAssembly(
                    request, promptIDs: ids, tokenizer: text.tokenizer, endOfSequenceIDs: model.endOfSequenceIDs)
                runs.append(Run(stream: stream, assembly: assembly))
            }
        } catch {
            active.withLock { $0.remove(ticket) }
            throw error
        }
        let accepted = runs
        return TextBatch(count: accepted.count) { [self] board in
            defer { active.withLock { $0.remove(ticket) } }
            do {
                try await withThrowingDiscardingTaskGroup { group in
                    for (index, run) in accepted.enumerated() {
                        group.addTask { [self] in
                            try await follow(run, since: start) {
                                if isStreamed || $0.finish != nil { board.publish($0, at: index) }
                            }
                        }
                    }
                }
                return nil
            } catch {
                return error as? EngineError
            }
        }
    }

    /// Ends the request `id`, or all those of the batch that was given `id` as its common name.
    public func abort(_ id: String) async {
        for name in active.withLock({ $0.names(for: id) }) { await engine.cancel(name) }
    }

    /// Ends all requests.
    public func abortAll() async {
        for name in active.withLock({ $0.all }) { await engine.cancel(name) }
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

    /// Reads one engine stream to its end, or to a stop text, which frees the request's place at once.
    ///
    /// - Throws: why the request was refused after it had been queued.
    private func follow(
        _ run: Run, since start: ContinuousClock.Instant, publish: (TextOutput) -> Void
    ) async throws(EngineError) {
        var assembly = run.assembly
        var events = run.stream.makeAsyncIterator()
        while let event = await events.next() {
            let before = ServingMetrics.Mark(assembly.output)
            let wasFinished = assembly.output.finish != nil
            assembly.append(event)
            if !wasFinished {
                assembly.note(elapsed: ContinuousClock.now - start)
                metrics.note(before, assembly.output)
            }
            if case .finished(.refused(let error)) = event { throw error }
            if assembly.awaitsExperts {
                // They come when the request ends.
                if !wasFinished { await engine.cancel(assembly.output.id) }
                continue
            }
            publish(assembly.output)
            guard let finish = assembly.output.finish else { continue }
            if case .stopText = finish, !wasFinished {
                // Reading on in a cancelled task drops the stream. Cancelling by name could hit a newer request.
                withUnsafeCurrentTask { $0?.cancel() }
                _ = await events.next()
            }
            return
        }
        guard !Task.isCancelled else { return }
        if assembly.output.finish == nil { assembly.abandon() }
        publish(assembly.output)
    }

    private struct Run: Sendable {
        var stream: AsyncStream<GenerationEvent>
        var assembly: TextAssembly
    }
}
