// GenerateRequest: the body of sglang's `/generate`.

internal import Engine

/// The body of `/generate`. Null takes the default; unknown fields are ignored.
struct GenerateRequest: Decodable, Sendable {
    var text: PromptInput?
    var inputIDs: PromptInput?
    var samplingParameters: OneOrMany<SamplingFields>?
    var rid: OneOrMany<String>?
    var returnLogprob: OneOrMany<Bool>?
    var logprobStart: OneOrMany<Int>?
    var topLogprobs: OneOrMany<Int>?
    var tokenIDsLogprob: TokenLists?
    var returnTextInLogprobs: Bool
    var routedExperts: RoutedExpertsForm?
    var routedExpertsStart: Int
    var priority: Int
    var stream: Bool

    enum CodingKeys: String, CodingKey {
        case text
        case inputIDs = "input_ids"
        case samplingParameters = "sampling_params"
        case rid
        case returnLogprob = "return_logprob"
        case logprobStart = "logprob_start_len"
        case topLogprobs = "top_logprobs_num"
        case tokenIDsLogprob = "token_ids_logprob"
        case returnTextInLogprobs = "return_text_in_logprobs"
        case routedExperts = "return_routed_experts"
        case routedExpertsStart = "routed_experts_start_len"
        case priority, stream
    }

    /// Features of sglang that this version does not have.
    private static let unsupported = [
        "input_embeds", "image_data", "audio_data", "video_data", "modalities", "lora_path", "session_params",
        "custom_logit_processor", "return_hidden_states", "bootstrap_host", "bootstrap_port", "bootstrap_room",
        "return_flat_raw_top_logprobs",
    ]

    init(from decoder: any Decoder) throws {
        try refuseUnsupported(Self.unsupported, in: decoder)
        let container = try decoder.container(keyedBy: CodingKeys.self)
        text = try container.decodeIfPresent(PromptInput.self, forKey: .text)
        inputIDs = try container.decodeIfPresent(PromptInput.self, forKey: .inputIDs)
        samplingParameters = try container.decodeIfPresent(
            OneOrMany<SamplingFields>.self, forKey: .samplingParameters)
        rid = try container.decodeIfPresent(OneOrMany<String>.self, forKey: .rid)
        returnLogprob = try container.decodeIfPresent(OneOrMany<Bool>.self, forKey: .returnLogprob)
        logprobStart = try container.decodeIfPresent(OneOrMany<Int>.self, forKey: .logprobStart)
        topLogprobs = try container.decodeIfPresent(OneOrMany<Int>.self, forKey: .topLogprobs)
        tokenIDsLogprob = try container.decodeIfPresent(TokenLists.self, forKey: .tokenIDsLogprob)
        returnTextInLogprobs = try container.decodeIfPresent(Bool.self, forKey: .returnTextInLogprobs) ?? false
        routedExperts = try container.decodeIfPresent(RoutedExpertsForm.Asked.self, forKey: .routedExperts)?.form
        routedExpertsStart = try container.decodeIfPresent(Int.self, forKey: .routedExpertsStart) ?? 0
        priority = try container.decodeIfPresent(Int.self, forKey: .priority) ?? 0
        stream = try container.decodeIfPresent(Bool.self, forKey: .stream) ?? false
    }
}

/// What a body asks for, checked: the generations in reply order.
struct GenerationPlan: Sendable {
    /// Generations that one body may ask for.
    static let largest = 4096

    var requests: [TextRequest]
    /// Whether the reply is a list, and stream items carry their index.
    var isList: Bool

    /// Refuses more than `largest` generations.
    static func check(_ count: Int) throws(RequestError) {
        guard count > largest else { return }
        throw RequestError("The body asks for \(count) generations, but at most \(largest) are allowed: send fewer.")
    }
}

extension GenerateRequest {
    /// Checks every field.
    ///
    /// - Throws: `RequestError` naming the field, the value found and the allowed range.
    func plan(vocabularySize: Int) throws(RequestError) -> GenerationPlan {
        let input = try promptInput()
        let count = input.prompts.count
        try GenerationPlan.check(count)
        var requests: [TextRequest] = []
        var isList = input.isList
        for (index, prompt) in input.prompts.enumerated() {
            let fields =
                try samplingParameters?.value(at: index, of: count, field: "sampling_params") ?? SamplingFields()
            let sampling = try fields.parameters(
                over: SamplingParameters(), prefix: "sampling_params.", vocabularySize: vocabularySize)
            var request = TextRequest(
                id: try requestID(at: index, of: count, isList: input.isList), prompt: prompt, sampling: sampling)
            if case .one(let name) = rid { request.group = name }
            fields.apply(to: &request)
            request.priority = priority
            if routedExperts != nil { request.routedExpertsStart = routedExpertsStart }
            request.logprobs = try logprobs(at: index, of: count, vocabularySize: vocabularySize)
            try GenerationPlan.check(requests.count + (fields.n ?? 1))
            let samples = fields.samples(of: request)
            if samples.count > 1 { isList = true }
            requests += samples
        }
        return GenerationPlan(requests: requests, isList: isList)
    }

    private func promptInput() throws(RequestError) -> PromptInput {
        switch (text, inputIDs) {
        case (let input?, nil):
            for case .ids in input.prompts {
                throw RequestError("text holds numbers: send token ids as input_ids.", field: "text")
            }
            guard !input.prompts.isEmpty else {
                throw RequestError("text is an empty list: send at least one prompt.", field: "text")
            }
            return input
        case (nil, let input?):
            for case .text in input.prompts {
                throw RequestError("input_ids holds text: send it as text.", field: "input_ids")
            }
            guard !input.prompts.isEmpty else {
                throw RequestError("input_ids is empty: send at least one token id.", field: "input_ids")
            }
            return input
        case (nil, nil): throw RequestError("The prompt is missing: send text or input_ids.", field: "text")
        case (_?, _?):
            throw RequestError("Both text and input_ids are there: send one of them.", field: "input_ids")
        }
    }

    private func requestID(at index: Int, of count: Int, isList: Bool) throws(RequestError) -> String {
        guard let rid else { return TextRequest.randomID() }
        if isList, case .one(let name) = rid { return "\(name)_\(index)" }
        return try rid.value(at: index, of: count, field: "rid")
    }

    private func logprobs(at index: Int, of count: Int, vocabularySize: Int) throws(RequestError) -> LogprobOptions? {
        guard try returnLogprob?.value(at: index, of: count, field: "return_logprob") ?? false else { return nil }
        let start = try logprobStart?.value(at: index, of: count, field: "logprob_start_len") ?? -1
        guard start >= -1 else {
            throw RequestError(
                "logprob_start_len is \(start), but must be -1 (none of the prompt) or a prompt position.",
                field: "logprob_start_len")
        }
        let top = try topLogprobs?.value(at: index, of: count, field: "top_logprobs_num") ?? 0
        let most = min(vocabularySize, 1024)
        guard (0...most).contains(top) else {
            throw RequestError(
                "top_logprobs_num is \(top), but must be from 0 to \(most).", field: "top_logprobs_num")
        }
        var asked: [Int32] = []
        if let lists = tokenIDsLogprob {
            guard !lists.isList || lists.lists.count == count else {
                throw RequestError(
                    "token_ids_logprob has \(lists.lists.count) lists for \(count) prompts: send one list, or \(count).",
                    field: "token_ids_logprob")
            }
            asked = lists.isList ? lists.lists[index] : lists.lists[0]
        }
        if let wrong = asked.first(where: { !(0..<vocabularySize).contains(Int($0)) }) {
            throw RequestError(
                "token_ids_logprob holds \(wrong), but ids are 0 to \(vocabularySize - 1).",
                field: "token_ids_logprob")
        }
        return LogprobOptions(promptStart: start < 0 ? nil : start, topCount: top, tokenIDs: asked)
    }
}
