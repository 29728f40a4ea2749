// Chat: OpenAI's /v1/chat/completions.

internal import Engine
internal import Hummingbird
internal import Text

/// `/v1/chat/completions`.
struct ChatRoute: Sendable {
    let state: ServerState

    func register(on router: Router<ServerContext>) {
        router.post("/v1/chat/completions", use: handle)
    }

    @Sendable private func handle(_ request: Request, _ context: ServerContext) async throws -> Response {
        let body = try ChatRequest(try await request.wholeBody(state.settings.limits))
        let generator = state.generator
        let plan = try body.plan(text: generator.text, model: generator.model)
        let batch = try await generator.generate(
            plan.requests, interval: body.fields.stream ? state.settings.streamInterval : nil)
        let renderer = ChatRenderer(
            body: body, id: plan.requests[0].id, model: body.fields.model ?? state.settings.servedModelName,
            created: ServerState.now, tokenizer: generator.text.tokenizer, count: batch.count,
            reportsCache: state.settings.reportsCache)
        if body.fields.stream { return try await batch.eventStream(for: context.channel, renderer) }
        return try .json(renderer.whole(try await batch.finished(for: context.channel)))
    }
}

/// Writes chat replies, whole or as chunks of what is new.
private struct ChatRenderer: EventRenderer {
    let body: ChatRequest
    let id: String
    let model: String
    let created: Int
    let tokenizer: Tokenizer
    private var progress: StreamProgress

    init(
        body: ChatRequest, id: String, model: String, created: Int, tokenizer: Tokenizer, count: Int,
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

    func whole(_ outputs: [TextOutput]) -> ChatResponse<ChatChoice> {
        let choices = outputs.enumerated().map { index, output in
            ChatChoice(
                form: .message, index: index, role: "assistant", content: output.text,
                logprobs: logprobs(output.outputLogprobs), finish: output.finish)
        }
        var response = response(
            "chat.completion", choices, usage: progress.usage(of: outputs))
        response.sglext = body.fields.routedExperts.report(outputs.first)
        return response
    }

    /// First a chunk with the role, then the text as it grows, then a chunk with the reason of the end.
    mutating func render(_ updates: [IndexedOutput], to events: inout EventBuffer) throws {
        for update in updates {
            let output = update.output
            let news = progress.take(update)
            let usage = body.fields.streamOptions.continuousUsage ? progress.usage(of: output) : nil
            if news.isFirst {
                try events.append(
                    chunk(ChatChoice(form: .delta, index: update.index, role: "assistant", content: ""), usage))
            }
            if !news.text.isEmpty || !news.logprobs.isEmpty {
                let choice = ChatChoice(
                    form: .delta, index: update.index, content: news.text, logprobs: logprobs(news.logprobs))
                try events.append(chunk(choice, usage))
            }
            if let finish = output.finish {
                try events.append(chunk(ChatChoice(form: .delta, index: update.index, finish: finish), usage))
            }
        }
    }

    func finish(_ events: inout EventBuffer) throws {
        if let report = body.fields.routedExperts.report(progress.first) {
            var response = response("chat.completion.chunk", [], usage: nil)
            response.sglext = report
            try events.append(response)
        }
        guard body.fields.streamOptions.includeUsage else { return }
        try events.append(response("chat.completion.chunk", [], usage: progress.usage))
    }

    private func chunk(_ choice: ChatChoice, _ usage: Usage?) -> ChatResponse<ChatChoice> {
        response("chat.completion.chunk", [choice], usage: usage)
    }

    private func response(_ object: String, _ choices: [ChatChoice], usage: Usage?) -> ChatResponse<ChatChoice> {
        ChatResponse(object: object, id: id, created: created, model: model, choices: choices, usage: usage)
    }

    private func logprobs(_ positions: [PositionLogprobs]) -> ChatLogprobs? {
        body.options.logprobs == true ? ChatLogprobs(positions, tokenizer: tokenizer) : nil
    }
}
