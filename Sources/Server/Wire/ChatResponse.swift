// ChatResponse: the reply of /v1/chat/completions, whole or as one chunk of a stream.

internal import Engine
internal import Text

/// A `chat.completion` or `chat.completion.chunk` object.
struct ChatResponse<Choice: Encodable>: Encodable {
    var object: String
    var id: String
    var created: Int
    var model: String
    var choices: [Choice]
    var usage: Usage?
    var sglext: ReplyExtension?

    enum CodingKeys: CodingKey { case id, object, created, model, choices, usage, sglext }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(id, forKey: .id)
        try container.encode(object, forKey: .object)
        try container.encode(created, forKey: .created)
        try container.encode(model, forKey: .model)
        try container.encode(choices, forKey: .choices)
        try container.encode(usage, forKey: .usage)
        try container.encodeIfPresent(sglext, forKey: .sglext)
    }
}

/// One sample: a whole message, or what is new of it.
struct ChatChoice: Encodable {
    /// Where the text stands: `message` in a whole reply, `delta` in a chunk.
    enum Form { case message, delta }

    var form: Form
    var index: Int
    /// Only in whole replies and in the first chunk.
    var role: String?
    var content: String?
    var logprobs: ChatLogprobs?
    var finish: TextFinish?

    enum CodingKeys: String, CodingKey {
        case index, message, delta, logprobs
        case finishReason = "finish_reason"
        case matchedStop = "matched_stop"
    }

    enum MessageKeys: String, CodingKey {
        case role, content
        case reasoningContent = "reasoning_content"
        case toolCalls = "tool_calls"
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(index, forKey: .index)
        var message = container.nestedContainer(
            keyedBy: MessageKeys.self, forKey: form == .message ? .message : .delta)
        try message.encode(role, forKey: .role)
        try message.encode(content, forKey: .content)
        try message.encodeNil(forKey: .reasoningContent)
        try message.encodeNil(forKey: .toolCalls)
        try container.encode(logprobs, forKey: .logprobs)
        try container.encode(finish?.nativeName, forKey: .finishReason)
        try container.encode(finish.map(MatchedStop.init), forKey: .matchedStop)
    }
}

/// Log-probabilities, one entry per token.
struct ChatLogprobs: Encodable {
    var content: [Entry]

    struct Entry: Encodable {
        var token: String
        var bytes: [UInt8]
        var logprob: Float?
        var topLogprobs: [Alternative]

        enum CodingKeys: String, CodingKey {
            case token, bytes, logprob
            case topLogprobs = "top_logprobs"
        }
    }

    struct Alternative: Encodable {
        var token: String
        var bytes: [UInt8]
        var logprob: Float?

        init(_ token: TokenLogprob, tokenizer: Tokenizer) {
            self.token = tokenizer.decode(CollectionOfOne(token.id))
            bytes = Array(self.token.utf8)
            logprob = token.logprob.isFinite ? token.logprob : nil
        }
    }

    init(_ positions: some Sequence<PositionLogprobs>, tokenizer: Tokenizer) {
        content = positions.map { position in
            let token = Alternative(position.token, tokenizer: tokenizer)
            return Entry(
                token: token.token, bytes: token.bytes, logprob: token.logprob,
                topLogprobs: position.top.map { Alternative($0, tokenizer: tokenizer) })
        }
    }
}
