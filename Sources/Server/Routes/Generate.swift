// Generate: sglang's native `/generate`.

internal import Engine
internal import HTTPTypes
internal import Hummingbird
internal import Text

/// `/generate`, POST or PUT.
struct GenerateRoute: Sendable {
    let state: ServerState

    func register(on router: Router<ServerContext>) {
        router.post("/generate", use: handle)
        router.put("/generate", use: handle)
    }

    @Sendable private func handle(_ request: Request, _ context: ServerContext) async throws -> Response {
        let body = try await request.decode(GenerateRequest.self, state.settings.limits)
        let generator = state.generator
        let plan = try body.plan(vocabularySize: generator.model.vocabularySize)
        let batch = try await generator.generate(
            plan.requests, interval: body.stream ? state.settings.streamInterval : nil)
        let renderer = NativeRenderer(
            plan: plan, tokenizer: body.returnTextInLogprobs ? generator.text.tokenizer : nil,
            routedExperts: body.routedExperts, isIncremental: state.settings.streamsIncrementally)
        if body.stream { return try await batch.eventStream(for: context.channel, renderer) }
        let replies = try await batch.finished(for: context.channel).enumerated().map { index, output in
            renderer.reply(output, at: index)
        }
        return plan.isList ? try .json(replies) : try .json(replies[0])
    }
}

/// Writes native events: each holds everything so far, or of text and ids what is new.
private struct NativeRenderer: EventRenderer {
    let plan: GenerationPlan
    let tokenizer: Tokenizer?
    let routedExperts: RoutedExpertsForm?
    /// Nil where everything is sent again.
    private var progress: StreamProgress?

    init(plan: GenerationPlan, tokenizer: Tokenizer?, routedExperts: RoutedExpertsForm?, isIncremental: Bool) {
        self.plan = plan
        self.tokenizer = tokenizer
        self.routedExperts = routedExperts
        progress = isIncremental ? StreamProgress(count: plan.requests.count, samples: 1, reportsCache: false) : nil
    }

    func reply(_ output: TextOutput, at index: Int) -> GenerateResponse {
        GenerateResponse(output, for: plan.requests[index], logprobTokenizer: tokenizer, routedExperts: routedExperts)
    }

    mutating func render(_ updates: [IndexedOutput], to events: inout EventBuffer) throws {
        for update in updates where !update.output.outputIDs.isEmpty || update.output.finish != nil {
            var reply = reply(update.output, at: update.index)
            if plan.isList { reply.index = update.index }
            if let news = progress?.take(update) {
                reply.text = news.text
                reply.outputIDs = Array(news.ids)
            }
            try events.append(reply)
        }
    }
}
