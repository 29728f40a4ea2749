// CompletionResponse: the reply of /v1/completions, whole or as one chunk of a stream.

internal import Engine
internal import Text

/// A `text_completion` object.
struct CompletionResponse: Encodable {
    var id: String
    var created: Int
    var model: String
    var choices: [CompletionChoice]
    var usage: Usage?
    var sglext: ReplyExtension?

    enum CodingKeys: CodingKey { case id, object, created, model, choices, usage, sglext }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(id, forKey: .id)
        try container.encode("text_completion", forKey: .object)
        try container.encode(created, forKey: .created)
        try container.encode(model, forKey: .model)
        try container.encode(choices, forKey: .choices)
        try container.encode(usage, forKey: .usage)
        try container.encodeIfPresent(sglext, forKey: .sglext)
    }
}

/// One sample of one prompt.
struct CompletionChoice: Encodable {
    var index: Int
    var text: String
    var logprobs: CompletionLogprobs?
    var finish: TextFinish?

    enum CodingKeys: String, CodingKey {
        case index, text, logprobs
        case finishReason = "finish_reason"
        case matchedStop = "matched_stop"
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(index, forKey: .index)
        try container.encode(text, forKey: .text)
        try container.encode(logprobs, forKey: .logprobs)
        try container.encode(finish?.nativeName, forKey: .finishReason)
        try container.encode(finish.map(MatchedStop.init), forKey: .matchedStop)
    }
}

/// Log-probabilities as parallel lists.
struct CompletionLogprobs: Encodable {
    var tokens: [String] = []
    var tokenLogprobs: [Float?] = []
    var topLogprobs: [TopLogprobs?] = []
    var textOffset: [Int] = []

    enum CodingKeys: String, CodingKey {
        case tokens
        case tokenLogprobs = "token_logprobs"
        case topLogprobs = "top_logprobs"
        case textOffset = "text_offset"
    }

    init(_ positions: some Sequence<PositionLogprobs>, tokenizer: Tokenizer) {
        func text(_ token: TokenLogprob) -> String { tokenizer.decode(CollectionOfOne(token.id)) }
        for position in positions {
            tokens.append(text(position.token))
            tokenLogprobs.append(position.token.logprob.isFinite ? position.token.logprob : nil)
            let top = TopLogprobs(position.top.filter(\.logprob.isFinite).map { (text($0), $0.logprob) })
            topLogprobs.append(top.entries.isEmpty ? nil : top)
            textOffset.append(-1)
        }
    }
}

/// The most probable tokens of a position: an object of logprobs by text, best first.
struct TopLogprobs: Encodable {
    private(set) var entries: [(text: String, logprob: Float)] = []

    /// Of tokens that have the same text, the best counts; `tokens` are given best first.
    init(_ tokens: [(text: String, logprob: Float)]) {
        for token in tokens where !entries.contains(where: { $0.text == token.text }) { entries.append(token) }
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: AnyKey.self)
        for entry in entries { try container.encode(entry.logprob, forKey: AnyKey(stringValue: entry.text)) }
    }
}
