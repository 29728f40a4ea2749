// Completions: OpenAI's /v1/completions.

internal import Engine
internal import Hummingbird
internal import Text

/// `/v1/completions`.
struct CompletionsRoute: Sendable {
    let state: ServerState

    func register(on router: Router<ServerContext>) {
        router.post("/v1/completions", use: handle)
    }

    @Sendable private func handle(_ request: Request, _ context: ServerContext) async throws -> Response {
        let body = try await request.decode(CompletionRequest.self, state.settings.limits)
        let plan = try body.plan(vocabularySize: state.generator.model.vocabularySize)
        let batch = try await state.generator.generate(
            plan.requests, interval: body.fields.stream ? state.settings.streamInterval : nil)
        let renderer = CompletionRenderer(
            body: body, id: plan.requests[0].id, model: body.fields.model ?? state.settings.servedModelName,
            created: ServerState.now, tokenizer: state.generator.text.tokenizer, count: batch.count,
            reportsCache: state.settings.reportsCache)
        if body.fields.stream { return try await batch.eventStream(for: context.channel, renderer) }
        return try .json(renderer.whole(try await batch.finished(for: context.channel)))
    }
}

/// Writes completions, whole or as chunks of what is new.
private struct CompletionRenderer: EventRenderer {
    let body: CompletionRequest
    let id: String
    let model: String
    let created: Int
    let tokenizer: Tokenizer
    private var progress: StreamProgress

    init(
        body: CompletionRequest, id: String, model: String, created: Int, tokenizer: Tokenizer, count: Int,
        reportsCache: Bool
    ) {
        self.body = body
        self.id = id
        self.model = model
        self.created = created
        self.tokenizer = tokenizer
        progress = StreamProgress(
            count: count, samples: body.fields.sampling.n ?? 1, reportsCache: reportsCache)
    }

    func whole(_ outputs: [TextOutput]) -> CompletionResponse {
        let choices = outputs.enumerated().map { index, output in
            CompletionChoice(
                index: index, text: echo(at: index, output) + output.text,
                logprobs: logprobs(output.promptLogprobs + output.outputLogprobs), finish: output.finish)
        }
        var response = response(choices, usage: progress.usage(of: outputs))
        response.sglext = body.fields.routedExperts.report(outputs.first)
        return response
    }

    mutating func render(_ updates: [IndexedOutput], to events: inout EventBuffer) throws {
        for update in updates {
            let output = update.output
            let news = progress.take(update)
            guard !news.isEmpty || (news.isFirst && body.echo) else { continue }
            let choice = CompletionChoice(
                index: update.index, text: (news.isFirst ? echo(at: update.index, output) : "") + news.text,
                logprobs: logprobs((news.isFirst ? output.promptLogprobs : []) + news.logprobs),
                finish: output.finish)
            let usage = body.fields.streamOptions.continuousUsage ? progress.usage(of: output) : nil
            try events.append(response([choice], usage: usage))
        }
    }

    func finish(_ events: inout EventBuffer) throws {
        if let report = body.fields.routedExperts.report(progress.first) {
            var response = response([], usage: nil)
            response.sglext = report
            try events.append(response)
        }
        guard body.fields.streamOptions.includeUsage else { return }
        try events.append(response([], usage: progress.usage))
    }

    private func response(_ choices: [CompletionChoice], usage: Usage?) -> CompletionResponse {
        CompletionResponse(id: id, created: created, model: model, choices: choices, usage: usage)
    }

    private func logprobs(_ positions: [PositionLogprobs]) -> CompletionLogprobs? {
        body.logprobs == nil ? nil : CompletionLogprobs(positions, tokenizer: tokenizer)
    }

    private func echo(at index: Int, _ output: TextOutput) -> String {
        guard body.echo else { return "" }
        if case .text(let text) = body.prompt.prompts[index / (body.fields.sampling.n ?? 1)] { return text }
        return tokenizer.decode(output.promptIDs)
    }
}
