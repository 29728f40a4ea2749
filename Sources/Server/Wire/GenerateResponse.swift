// GenerateResponse: the reply of sglang's `/generate`, whole or as the latest event of a stream.

internal import Engine
internal import Text

/// One generation's reply; in streams `text` and the lists are cumulative, unless the server was started otherwise.
struct GenerateResponse: Encodable {
    var text: String
    var outputIDs: [Int32]
    var metaInfo: MetaInfo
    /// The place in the batch; only in streams of batches.
    var index: Int?

    enum CodingKeys: String, CodingKey {
        case text, index
        case outputIDs = "output_ids"
        case metaInfo = "meta_info"
    }

    /// The reply for `output`; `logprobTokenizer` writes the tokens' texts beside their log-probabilities.
    init(
        _ output: TextOutput, for request: TextRequest, logprobTokenizer: Tokenizer? = nil,
        routedExperts: RoutedExpertsForm? = nil, index: Int? = nil
    ) {
        text = output.text
        outputIDs = output.outputIDs
        metaInfo = MetaInfo(
            output, options: request.logprobs, tokenizer: logprobTokenizer, routedExperts: routedExperts)
        self.index = index
    }
}

/// What sglang calls `meta_info`.
struct MetaInfo: Encodable {
    private var output: TextOutput
    private var options: LogprobOptions?
    private var tokenizer: Tokenizer?
    private var routedExperts: RoutedExpertsForm?

    enum CodingKeys: String, CodingKey {
        case id
        case finishReason = "finish_reason"
        case promptTokens = "prompt_tokens"
        case completionTokens = "completion_tokens"
        case cachedTokens = "cached_tokens"
        case latency = "e2e_latency"
        case weightVersion = "weight_version"
        case inputTokenLogprobs = "input_token_logprobs"
        case outputTokenLogprobs = "output_token_logprobs"
        case inputTopLogprobs = "input_top_logprobs"
        case outputTopLogprobs = "output_top_logprobs"
        case inputTokenIDsLogprobs = "input_token_ids_logprobs"
        case outputTokenIDsLogprobs = "output_token_ids_logprobs"
        case routedExperts = "routed_experts"
        case routedExpertsType = "routed_experts_dtype"
        case routedExpertsShape = "routed_experts_shape"
    }

    init(
        _ output: TextOutput, options: LogprobOptions?, tokenizer: Tokenizer?, routedExperts: RoutedExpertsForm? = nil
    ) {
        self.routedExperts = routedExperts
        self.output = output
        self.options = options
        self.tokenizer = tokenizer
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(output.id, forKey: .id)
        try container.encode(
            output.finish.map { WireFinishReason($0, length: output.outputIDs.count) }, forKey: .finishReason)
        try container.encode(output.promptIDs.count, forKey: .promptTokens)
        try container.encode(output.outputIDs.count, forKey: .completionTokens)
        try container.encode(output.cachedTokens, forKey: .cachedTokens)
        try container.encode("default", forKey: .weightVersion)
        if output.finish != nil { try container.encode(output.elapsed.seconds, forKey: .latency) }
        if let experts = output.routedExperts, output.finish != nil {
            let (text, type) = (routedExperts ?? .int32).encode(experts)
            try container.encode(text, forKey: .routedExperts)
            try container.encode(type, forKey: .routedExpertsType)
            try container.encode([experts.tokens, experts.layers, experts.topK], forKey: .routedExpertsShape)
        }
        guard let options else { return }
        let (input, generated) = (output.promptLogprobs, output.outputLogprobs)
        func triple(_ token: TokenLogprob) -> LogprobTriple {
            LogprobTriple(token, text: tokenizer?.decode(CollectionOfOne(token.id)))
        }
        /// Null where nothing predicts the position.
        func triples(_ tokens: [TokenLogprob]) -> [LogprobTriple]? { tokens.isEmpty ? nil : tokens.map(triple) }
        try container.encode(input.map { triple($0.token) }, forKey: .inputTokenLogprobs)
        try container.encode(generated.map { triple($0.token) }, forKey: .outputTokenLogprobs)
        if options.topCount > 0 {
            try container.encode(input.map { triples($0.top) }, forKey: .inputTopLogprobs)
            try container.encode(generated.map { triples($0.top) }, forKey: .outputTopLogprobs)
        }
        if !options.tokenIDs.isEmpty {
            try container.encode(input.map { triples($0.asked) }, forKey: .inputTokenIDsLogprobs)
            try container.encode(generated.map { triples($0.asked) }, forKey: .outputTokenIDsLogprobs)
        }
    }
}

/// `{"type": "stop", "matched": …}`, `{"type": "length", "length": …}` or `{"type": "abort", …}`.
private struct WireFinishReason: Encodable {
    var finish: TextFinish
    var length: Int

    init(_ finish: TextFinish, length: Int) {
        self.finish = finish
        self.length = length
    }

    enum CodingKeys: String, CodingKey {
        case type, matched, length, message
        case statusCode = "status_code"
        case errorType = "err_type"
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(finish.nativeName, forKey: .type)
        switch finish {
        case .stopToken(let id): try container.encode(id, forKey: .matched)
        case .stopText(let text): try container.encode(text, forKey: .matched)
        case .length: try container.encode(length, forKey: .length)
        case .aborted(let message):
            try container.encode(message, forKey: .message)
            try container.encodeNil(forKey: .statusCode)
            try container.encodeNil(forKey: .errorType)
        }
    }
}

extension TextFinish {
    /// `stop`, `length` or `abort`.
    var nativeName: String {
        switch self {
        case .stopToken, .stopText: "stop"
        case .length: "length"
        case .aborted: "abort"
        }
    }
}

/// `[logprob or null, id, text or null]`.
struct LogprobTriple: Encodable, Equatable {
    var logprob: Float?
    var id: Int32
    var text: String?

    init(_ token: TokenLogprob, text: String?) {
        logprob = token.logprob.isFinite ? token.logprob : nil
        id = token.id
        self.text = text
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.unkeyedContainer()
        try container.encode(logprob)
        try container.encode(id)
        try container.encode(text)
    }
}

extension Duration {
    /// The duration in seconds.
    var seconds: Double {
        Double(components.seconds) + Double(components.attoseconds) / 1e18
    }
}
