// ChatRequest: the body of /v1/chat/completions.
//
// Messages and tools are kept as values rather than typed fields, in the order the client wrote them: the template
// is entitled to see every field of them.

internal import Engine
internal import Hummingbird
internal import NIOCore
internal import Text

/// The body of `/v1/chat/completions`.
struct ChatRequest: Sendable {
    var fields: OpenAIFields
    var options: Options
    var messages: TemplateValue
    var tools: TemplateValue
    var templateVariables: [String: TemplateValue]

    struct Options: Decodable, Sendable {
        var logprobs: Bool?
        var topLogprobs: Int?
        var continueFinalMessage: Bool?

        enum CodingKeys: String, CodingKey {
            case logprobs
            case topLogprobs = "top_logprobs"
            case continueFinalMessage = "continue_final_message"
        }
    }

    /// Reads a body.
    ///
    /// - Throws: an error that names the field at fault.
    init(_ body: ByteBuffer) throws {
        fields = try body.decodeJSON(OpenAIFields.self)
        options = try body.decodeJSON(Options.self)
        let value = try TemplateValue(json: body.readableBytesView)
        messages = try ChatMessages.normalized(value["messages"])
        tools = value["tools"] ?? .null
        switch value["tool_choice"] {
        case nil, .null, .string("auto"): break
        case .string("none"): tools = .null
        default:
            throw RequestError(
                "tool_choice must be \"auto\" or \"none\": this version cannot force a tool call.",
                field: "tool_choice")
        }
        if case .array(let list) = tools, list.isEmpty { tools = .null }
        templateVariables = [:]
        if case .object(let pairs) = value["chat_template_kwargs"] {
            for (name, value) in pairs { templateVariables[name] = value }
        }
    }

    /// Checks every field and renders the prompt.
    ///
    /// - Throws: `RequestError` naming the field, the value found and the allowed range.
    func plan(text: ModelText, model: ModelDescription) throws(RequestError) -> GenerationPlan {
        let vocabularySize = model.vocabularySize
        var defaults = text.defaults.samplingParameters
        defaults.maxNewTokens = model.contextLength
        let sampling = try fields.sampling.parameters(
            over: defaults, names: OpenAIFields.names, vocabularySize: vocabularySize)
        var request = TextRequest(
            id: fields.rid ?? TextRequest.randomID(), prompt: .templated(try prompt(text)), sampling: sampling)
        request.priority = fields.priority
        request.fillsContext = fields.sampling.maxNewTokens == nil
        fields.sampling.apply(to: &request)
        fields.routedExperts.apply(to: &request)
        let top = options.topLogprobs ?? 0
        guard (0...20).contains(top) else {
            throw RequestError("top_logprobs is \(top), but must be from 0 to 20.", field: "top_logprobs")
        }
        if options.logprobs == true {
            request.logprobs = LogprobOptions(topCount: min(top, vocabularySize))
        } else if top > 0 {
            throw RequestError("top_logprobs is \(top), but logprobs is not true.", field: "top_logprobs")
        }
        return GenerationPlan(requests: fields.sampling.samples(of: request), isList: true)
    }

    private func prompt(_ text: ModelText) throws(RequestError) -> String {
        guard options.continueFinalMessage == true, case .array(var list) = messages, let last = list.popLast(),
            last["role"] == .string("assistant"), case .string(let beginning)? = last["content"]
        else { return try text.prompt(messages: messages, tools: tools, extra: templateVariables) }
        return try text.prompt(messages: .array(list), tools: tools, extra: templateVariables) + beginning
    }
}
