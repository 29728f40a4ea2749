// SamplingFields: sampling parameters as clients spell them, in `sampling_params` and flat in the OpenAI requests.

internal import Engine

/// Sampling parameters as clients spell them; nil and null take the default.
struct SamplingFields: Decodable, Sendable {
    var maxNewTokens: Int?
    var minNewTokens: Int?
    var temperature: Double?
    var topP: Double?
    var topK: Int?
    var minP: Double?
    var frequencyPenalty: Double?
    var presencePenalty: Double?
    var repetitionPenalty: Double?
    var stop: OneOrMany<String>?
    var stopTokenIDs: [Int32]?
    var ignoreEOS: Bool?
    var skipSpecialTokens: Bool?
    var noStopTrim: Bool?
    var logitBias: [String: Double]?
    var seed: Int?
    var n: Int?

    enum CodingKeys: String, CodingKey {
        case maxNewTokens = "max_new_tokens"
        case minNewTokens = "min_new_tokens"
        case temperature
        case topP = "top_p"
        case topK = "top_k"
        case minP = "min_p"
        case frequencyPenalty = "frequency_penalty"
        case presencePenalty = "presence_penalty"
        case repetitionPenalty = "repetition_penalty"
        case stop
        case stopTokenIDs = "stop_token_ids"
        case ignoreEOS = "ignore_eos"
        case skipSpecialTokens = "skip_special_tokens"
        case noStopTrim = "no_stop_trim"
        case logitBias = "logit_bias"
        case seed = "sampling_seed"
        case n
    }

    /// Features of sglang that this version does not have.
    static let unsupported = [
        "json_schema", "regex", "ebnf", "structural_tag", "stop_regex", "beam_width", "custom_params",
        // vLLM's names of the same constraints: a constraint that is ignored in silence is worse than a refusal.
        "guided_json", "guided_regex", "guided_grammar", "guided_choice", "structured_outputs",
    ]

    /// Every stop text is looked for at every byte of the output, so there is a limit.
    private static let mostStops = 64
    /// Bytes.
    private static let longestStop = 512

    init() {}

    init(from decoder: any Decoder) throws {
        try refuseUnsupported(Self.unsupported, in: decoder)
        let container = try decoder.container(keyedBy: CodingKeys.self)
        maxNewTokens = try container.decodeIfPresent(Int.self, forKey: .maxNewTokens)
        minNewTokens = try container.decodeIfPresent(Int.self, forKey: .minNewTokens)
        temperature = try container.decodeIfPresent(Double.self, forKey: .temperature)
        topP = try container.decodeIfPresent(Double.self, forKey: .topP)
        topK = try container.decodeIfPresent(Int.self, forKey: .topK)
        minP = try container.decodeIfPresent(Double.self, forKey: .minP)
        frequencyPenalty = try container.decodeIfPresent(Double.self, forKey: .frequencyPenalty)
        presencePenalty = try container.decodeIfPresent(Double.self, forKey: .presencePenalty)
        repetitionPenalty = try container.decodeIfPresent(Double.self, forKey: .repetitionPenalty)
        stop = try container.decodeIfPresent(OneOrMany<String>.self, forKey: .stop)
        stopTokenIDs = try container.decodeIfPresent([TokenID].self, forKey: .stopTokenIDs)?.map(\.id)
        ignoreEOS = try container.decodeIfPresent(Bool.self, forKey: .ignoreEOS)
        skipSpecialTokens = try container.decodeIfPresent(Bool.self, forKey: .skipSpecialTokens)
        noStopTrim = try container.decodeIfPresent(Bool.self, forKey: .noStopTrim)
        logitBias = try container.decodeIfPresent([String: Double].self, forKey: .logitBias)
        seed = try container.decodeIfPresent(Int.self, forKey: .seed)
        n = try container.decodeIfPresent(Int.self, forKey: .n)
    }
}

extension SamplingFields {
    /// The fields checked against their ranges, on top of `defaults`.
    ///
    /// - Parameters:
    ///   - defaults: what missing fields mean.
    ///   - prefix: written before a field's name in messages, such as `sampling_params.`.
    ///   - names: how this API spells a field where it differs from `/generate`.
    ///   - vocabularySize: ids must be below.
    /// - Returns: parameters that the engine accepts.
    /// - Throws: `RequestError` naming the field, the value found and the allowed range.
    func parameters(
        over defaults: SamplingParameters, prefix: String = "", names: [CodingKeys: String] = [:],
        vocabularySize: Int
    ) throws(RequestError) -> SamplingParameters {
        func check<Value>(_ key: CodingKeys, _ value: Value?, _ allowed: String, _ holds: (Value) -> Bool)
            throws(RequestError)
        {
            guard let value, !holds(value) else { return }
            let name = names[key] ?? prefix + key.rawValue
            throw RequestError("\(name) is \(value), but must be \(allowed).", field: name)
        }
        try check(.maxNewTokens, maxNewTokens, "0 or more") { $0 >= 0 }
        let most = maxNewTokens ?? defaults.maxNewTokens
        try check(.minNewTokens, minNewTokens, "from 0 to the \(most) tokens asked for") { (0...most).contains($0) }
        try check(.temperature, temperature, "from 0 to 1000000") { (0...1_000_000).contains($0) }
        try check(.topP, topP, "above 0 and at most 1") { Float($0) > 0 && $0 <= 1 }
        try check(.topK, topK, "-1 (all tokens) or 1 or more") { $0 == -1 || $0 >= 1 }
        try check(.minP, minP, "from 0 to 1") { (0...1).contains($0) }
        try check(.frequencyPenalty, frequencyPenalty, "from -2 to 2") { (-2...2).contains($0) }
        try check(.presencePenalty, presencePenalty, "from -2 to 2") { (-2...2).contains($0) }
        try check(.repetitionPenalty, repetitionPenalty, "from 0 to 2") { (0...2).contains($0) }
        try check(.n, n, "from 1 to 128") { (1...128).contains($0) }
        for id in stopTokenIDs ?? [] {
            try check(.stopTokenIDs, id, "a token id from 0 to \(vocabularySize - 1)") {
                (0..<vocabularySize).contains(Int($0))
            }
        }
        for text in stop?.list ?? [] where text.utf8.count > Self.longestStop {
            throw RequestError(
                "\(prefix)stop holds a text of \(text.utf8.count) bytes, but at most \(Self.longestStop) are allowed.",
                field: prefix + "stop")
        }
        if let count = stop?.list.count, count > Self.mostStops {
            throw RequestError(
                "\(prefix)stop holds \(count) texts, but at most \(Self.mostStops) are allowed.",
                field: prefix + "stop")
        }
        var result = defaults
        if let maxNewTokens { result.maxNewTokens = maxNewTokens }
        if let minNewTokens { result.minNewTokens = minNewTokens }
        if let temperature { result.temperature = Float(temperature) }
        if let topP { result.topP = Float(topP) }
        if let topK { result.topK = topK }
        if let minP { result.minP = Float(minP) }
        if let frequencyPenalty { result.frequencyPenalty = Float(frequencyPenalty) }
        if let presencePenalty { result.presencePenalty = Float(presencePenalty) }
        if let repetitionPenalty { result.repetitionPenalty = Float(repetitionPenalty) }
        if let stopTokenIDs { result.stopTokenIDs = stopTokenIDs }
        if let ignoreEOS { result.ignoreEOS = ignoreEOS }
        if let seed { result.seed = UInt64(bitPattern: Int64(seed)) }
        for (key, bias) in logitBias ?? [:] {
            guard let id = Int32(key), (0..<vocabularySize).contains(Int(id)), (-100...100).contains(bias) else {
                let name = prefix + CodingKeys.logitBias.rawValue
                throw RequestError(
                    "\(name) has \"\(key)\": \(bias), but keys must be token ids from 0 to \(vocabularySize - 1) "
                        + "and values from -100 to 100.", field: name)
            }
            result.logitBias[id] = Float(bias)
        }
        return result
    }

    /// `request` once per sample: seeds are counted up so that samples differ, ids get a suffix.
    func samples(of request: TextRequest) -> [TextRequest] {
        let count = n ?? 1
        guard count > 1 else { return [request] }
        return (0..<count).map { sample in
            var copy = request
            copy.id += "_\(sample)"
            copy.sampling.seed = request.sampling.seed.map { $0 &+ UInt64(sample) }
            return copy
        }
    }

    /// Copies what concerns the text rather than the tokens.
    func apply(to request: inout TextRequest) {
        request.stop = (stop?.list ?? []).filter { !$0.isEmpty }
        request.skipSpecialTokens = skipSpecialTokens ?? true
        request.noStopTrim = noStopTrim ?? false
    }
}
