// RequestValidation: bounds of a request, checked once, where it enters the engine.

extension GenerationRequest {
    /// Bytes of an id at most: recordings keep it.
    static let longestID = 256

    /// Checks the request against the model.
    ///
    /// - Returns: the longest that prompt and output together may become.
    /// - Throws: `EngineError` that names the field, what was found, and the range.
    func validated(for model: ModelDescription) throws(EngineError) -> Int {
        guard id.utf8.count <= Self.longestID else { throw .idTooLong(bytes: id.utf8.count, limit: Self.longestID) }
        guard !promptIDs.isEmpty else { throw .emptyPrompt }
        for (position, id) in promptIDs.enumerated() where id < 0 || Int(id) >= model.vocabularySize {
            throw .tokenOutOfRange(id: id, position: position, vocabularySize: model.vocabularySize)
        }
        // One place must be left for a token, unless none is wanted.
        let room = model.contextLength - (sampling.maxNewTokens > 0 ? 1 : 0)
        guard promptIDs.count <= room else { throw .promptTooLong(tokens: promptIDs.count, limit: room) }
        try sampling.validate(vocabularySize: model.vocabularySize)
        if let logprobs {
            let most = min(LogprobOptions.most, model.vocabularySize)
            guard (0...most).contains(logprobs.topCount) else {
                throw .invalidSampling("top_logprobs_num is \(logprobs.topCount): expected 0 to \(most)")
            }
            guard logprobs.tokenIDs.count <= LogprobOptions.most else {
                throw .invalidSampling(
                    "token_ids_logprob holds \(logprobs.tokenIDs.count) ids: expected at most \(LogprobOptions.most)")
            }
            if let start = logprobs.promptStart, start < 0 || start > promptIDs.count {
                throw .invalidSampling("logprob_start_len is \(start): expected -1 to \(promptIDs.count)")
            }
            for id in logprobs.tokenIDs where id < 0 || Int(id) >= model.vocabularySize {
                throw .invalidSampling("token_ids_logprob holds \(id): expected 0 to \(model.vocabularySize - 1)")
            }
        }
        if let start = routedExpertsStart, start < 0 || start > promptIDs.count {
            throw .invalidSampling("routed_experts_start_len is \(start): expected 0 to \(promptIDs.count)")
        }
        guard Int(Int32.min)...Int(Int32.max) ~= priority else {
            throw .invalidSampling("priority is \(priority): expected \(Int32.min) to \(Int32.max)")
        }
        return promptIDs.count + min(sampling.maxNewTokens, model.contextLength - promptIDs.count)
    }
}

extension SamplingParameters {
    /// Checks every parameter's range.
    fileprivate func validate(vocabularySize: Int) throws(EngineError) {
        func check(_ isValid: Bool, _ name: String, _ value: some Any, _ range: String) throws(EngineError) {
            guard isValid else { throw .invalidSampling("\(name) is \(value): expected \(range)") }
        }
        try check(maxNewTokens >= 0, "max_new_tokens", maxNewTokens, "0 or more")
        try check(
            minNewTokens >= 0 && minNewTokens <= maxNewTokens, "min_new_tokens", minNewTokens,
            "0 to max_new_tokens, \(maxNewTokens)")
        try check(temperature >= 0 && temperature.isFinite, "temperature", temperature, "0 or more")
        try check(topP > 0 && topP <= 1, "top_p", topP, "a number in (0, 1]")
        try check(topK == -1 || topK >= 1, "top_k", topK, "1 or more, or -1 for all")
        try check((0...1).contains(minP), "min_p", minP, "a number in [0, 1]")
        try check((-2...2).contains(frequencyPenalty), "frequency_penalty", frequencyPenalty, "a number in [-2, 2]")
        try check((-2...2).contains(presencePenalty), "presence_penalty", presencePenalty, "a number in [-2, 2]")
        try check(
            (0...2).contains(repetitionPenalty), "repetition_penalty", repetitionPenalty, "a number in [0, 2]")
        for (id, bias) in logitBias {
            try check(
                id >= 0 && Int(id) < vocabularySize, "a logit_bias key", id, "a token id, 0 to \(vocabularySize - 1)")
            try check(!bias.isNaN && bias < .infinity, "a logit_bias value", bias, "a number")
        }
    }
}
