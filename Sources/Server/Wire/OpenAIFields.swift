// OpenAIFields: what the requests of /v1/completions and /v1/chat/completions have in common.

internal import Engine

/// Fields that completions and chat requests share. Null takes the default; unknown fields are ignored.
struct OpenAIFields: Decodable, Sendable {
    var model: String?
    var rid: String?
    var priority: Int
    var stream: Bool
    var streamOptions: StreamOptions
    var sampling: SamplingFields
    var routedExperts: RoutedExpertsFields

    struct StreamOptions: Decodable, Sendable {
        var includeUsage = false
        var continuousUsage = false

        enum CodingKeys: String, CodingKey {
            case includeUsage = "include_usage"
            case continuousUsage = "continuous_usage_stats"
        }

        init() {}

        init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: CodingKeys.self)
            includeUsage = try container.decodeIfPresent(Bool.self, forKey: .includeUsage) ?? false
            continuousUsage = try container.decodeIfPresent(Bool.self, forKey: .continuousUsage) ?? false
        }
    }

    private enum CodingKeys: String, CodingKey {
        case model, rid, priority, stream, seed
        case streamOptions = "stream_options"
        case maxTokens = "max_tokens"
        case maxCompletionTokens = "max_completion_tokens"
        case minTokens = "min_tokens"
        case responseFormat = "response_format"
    }

    private struct ResponseFormat: Decodable {
        var type: String
    }

    /// How these APIs spell fields that `/generate` spells otherwise.
    static let names: [SamplingFields.CodingKeys: String] = [
        .maxNewTokens: "max_tokens", .minNewTokens: "min_tokens", .seed: "seed",
    ]
    /// Bytes; every chunk of a stream repeats the name.
    private static let longestModelName = 4096
    private static let unsupported = [
        "lora_path", "session_params", "custom_logit_processor", "return_hidden_states",
    ]

    init(from decoder: any Decoder) throws {
        try refuseUnsupported(Self.unsupported, in: decoder)
        let container = try decoder.container(keyedBy: CodingKeys.self)
        model = try container.decodeIfPresent(String.self, forKey: .model)
        if let bytes = model?.utf8.count, bytes > Self.longestModelName {
            throw RequestError(
                "model has \(bytes) bytes, but at most \(Self.longestModelName) are allowed.", field: "model")
        }
        rid = try container.decodeIfPresent(String.self, forKey: .rid)
        priority = try container.decodeIfPresent(Int.self, forKey: .priority) ?? 0
        stream = try container.decodeIfPresent(Bool.self, forKey: .stream) ?? false
        streamOptions = try container.decodeIfPresent(StreamOptions.self, forKey: .streamOptions) ?? StreamOptions()
        sampling = try SamplingFields(from: decoder)
        routedExperts = try RoutedExpertsFields(from: decoder)
        sampling.maxNewTokens =
            try container.decodeIfPresent(Int.self, forKey: .maxCompletionTokens)
            ?? container.decodeIfPresent(Int.self, forKey: .maxTokens)
        sampling.minNewTokens = try container.decodeIfPresent(Int.self, forKey: .minTokens)
        if let seed = try container.decodeIfPresent(Int.self, forKey: .seed) { sampling.seed = seed }
        let format = try container.decodeIfPresent(ResponseFormat.self, forKey: .responseFormat)
        if let format, format.type != "text" {
            throw RequestError(
                "response_format.type is \"\(format.type)\", but this version writes \"text\" only.",
                field: "response_format")
        }
    }
}

/// Tokens counted for a whole reply.
struct Usage: Encodable, Equatable {
    var promptTokens: Int
    var completionTokens: Int
    /// Prompt tokens that were found in the cache; nil when the operator does not report them.
    var cachedTokens: Int?

    enum CodingKeys: String, CodingKey {
        case cachedTokens = "cached_tokens"
        case promptTokens = "prompt_tokens"
        case completionTokens = "completion_tokens"
        case totalTokens = "total_tokens"
        case promptTokensDetails = "prompt_tokens_details"
        case reasoningTokens = "reasoning_tokens"
    }

    /// - Parameters:
    ///   - outputs: in reply order, the samples of one prompt side by side.
    ///   - samples: samples per prompt; a prompt counts once.
    ///   - reportsCache: whether tokens found in the cache are told.
    init(_ outputs: [TextOutput], samples: Int, reportsCache: Bool) {
        let prompts = stride(from: 0, to: outputs.count, by: max(samples, 1)).map { outputs[$0] }
        promptTokens = prompts.reduce(0) { $0 + $1.promptIDs.count }
        cachedTokens = reportsCache ? prompts.reduce(0) { $0 + $1.cachedTokens } : nil
        completionTokens = outputs.reduce(0) { $0 + $1.outputIDs.count }
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(promptTokens, forKey: .promptTokens)
        try container.encode(completionTokens, forKey: .completionTokens)
        try container.encode(promptTokens + completionTokens, forKey: .totalTokens)
        try container.encode(
            cachedTokens.map { [CodingKeys.cachedTokens.rawValue: $0] }, forKey: .promptTokensDetails)
        try container.encode(0, forKey: .reasoningTokens)
    }
}

/// `matched_stop`: the stop token or stop text that ended a choice.
struct MatchedStop: Encodable {
    var finish: TextFinish

    func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch finish {
        case .stopToken(let id): try container.encode(id)
        case .stopText(let text): try container.encode(text)
        case .length, .aborted: try container.encodeNil()
        }
    }
}

extension String {
    /// What this text has beyond the first `count` bytes, which must end on a character's border.
    func suffix(afterUTF8 count: Int) -> String {
        String(decoding: utf8.dropFirst(count), as: UTF8.self)
    }
}
