// CompletionRequest: the body of /v1/completions.

internal import Engine

/// The body of `/v1/completions`.
struct CompletionRequest: Decodable, Sendable {
    var fields: OpenAIFields
    var prompt: PromptInput
    /// How many most probable tokens to report per position; nil for no log-probabilities.
    var logprobs: Int?
    /// Whether the reply begins with the prompt.
    var echo: Bool

    private enum CodingKeys: String, CodingKey {
        case prompt, logprobs, echo
        case bestOf = "best_of"
    }

    init(from decoder: any Decoder) throws {
        try refuseUnsupported(["suffix"], in: decoder)
        fields = try OpenAIFields(from: decoder)
        let container = try decoder.container(keyedBy: CodingKeys.self)
        prompt = try container.decode(PromptInput.self, forKey: .prompt)
        logprobs = try container.decodeIfPresent(Int.self, forKey: .logprobs)
        echo = try container.decodeIfPresent(Bool.self, forKey: .echo) ?? false
        let bestOf = try container.decodeIfPresent(Int.self, forKey: .bestOf) ?? 1
        guard bestOf == 1 || bestOf == fields.sampling.n ?? 1 else {
            throw RequestError(
                "best_of is \(bestOf), but this version returns every sample: leave it out or send the value of n.",
                field: "best_of")
        }
    }

    /// Checks every field.
    ///
    /// - Throws: `RequestError` naming the field, the value found and the allowed range.
    func plan(vocabularySize: Int) throws(RequestError) -> GenerationPlan {
        guard !prompt.prompts.isEmpty else {
            throw RequestError("prompt is an empty list: send at least one prompt.", field: "prompt")
        }
        var defaults = SamplingParameters()
        defaults.maxNewTokens = 16
        let sampling = try fields.sampling.parameters(
            over: defaults, names: OpenAIFields.names, vocabularySize: vocabularySize)
        var options: LogprobOptions?
        if let logprobs {
            guard (0...20).contains(logprobs) else {
                throw RequestError("logprobs is \(logprobs), but must be from 0 to 20.", field: "logprobs")
            }
            options = LogprobOptions(promptStart: echo ? 0 : nil, topCount: min(logprobs, vocabularySize))
        }
        try GenerationPlan.check(prompt.prompts.count)
        try GenerationPlan.check(prompt.prompts.count * (fields.sampling.n ?? 1))
        let name = fields.rid ?? TextRequest.randomID()
        let requests = prompt.prompts.enumerated().flatMap { index, prompt in
            var request = TextRequest(
                id: self.prompt.isList ? "\(name)_\(index)" : name, prompt: prompt, sampling: sampling)
            request.group = name
            request.priority = fields.priority
            fields.sampling.apply(to: &request)
            fields.routedExperts.apply(to: &request)
            request.logprobs = options
            return fields.sampling.samples(of: request)
        }
        return GenerationPlan(requests: requests, isList: true)
    }
}
