// GenerationRequest: what a caller hands to the engine. Values only; past here there is no text.

/// One prompt to continue.
public struct GenerationRequest: Sendable {
    /// The caller's name for the request; used in logs and by `Engine.cancel`.
    public var id: String
    /// Prompt token ids; at least one, each in `0..<vocabularySize`.
    public var promptIDs: [Int32]
    /// How the next token is chosen, and when to stop.
    public var sampling: SamplingParameters
    /// Which log-probabilities to report; nil for none.
    public var logprobs: LogprobOptions?
    /// First position whose experts are reported, at most the prompt's length; nil reports none.
    public var routedExpertsStart: Int?
    /// Larger goes first, if the engine uses priorities; within ±2^31.
    public var priority = 0

    /// A request to continue `promptIDs`.
    public init(
        id: String, promptIDs: [Int32], sampling: SamplingParameters = SamplingParameters(),
        logprobs: LogprobOptions? = nil
    ) {
        self.id = id
        self.promptIDs = promptIDs
        self.sampling = sampling
        self.logprobs = logprobs
    }
}

/// How the next token is chosen, and when to stop. Defaults are sglang's.
public struct SamplingParameters: Sendable, Equatable {
    /// The most tokens to generate; ≥ 0.
    public var maxNewTokens = 128
    /// Stop and end-of-sequence tokens are suppressed until this many tokens exist.
    public var minNewTokens = 0
    /// Divides the logits; below 1e-6 means greedy.
    public var temperature: Float = 1
    /// Keeps the most probable tokens whose probabilities before them sum to at most this; in (0, 1].
    public var topP: Float = 1
    /// Keeps this many most probable tokens; -1 keeps all.
    public var topK = -1
    /// Drops tokens less probable than this share of the most probable one; in [0, 1].
    public var minP: Float = 0
    /// Subtracted from a token's logit once per earlier output of it; in [-2, 2].
    public var frequencyPenalty: Float = 0
    /// Subtracted from the logit of every token that was output before; in [-2, 2].
    public var presencePenalty: Float = 0
    /// Divides (positive) or multiplies (negative) the logits of tokens that were output before; in [0, 2].
    public var repetitionPenalty: Float = 1
    /// Added to the logits of these ids.
    public var logitBias: [Int32: Float] = [:]
    /// Ids that end the generation, beside the model's end-of-sequence ids.
    public var stopTokenIDs: [Int32] = []
    /// Whether the model's end-of-sequence ids are ordinary tokens.
    public var ignoreEOS = false
    /// Seeds this request's own random sequence; nil takes the engine's.
    public var seed: UInt64?

    /// sglang's defaults.
    public init() {}

    /// Whether the most probable token is always taken.
    public var isGreedy: Bool { temperature < 1e-6 || topK == 1 }
}

/// Which log-probabilities to report.
public struct LogprobOptions: Sendable, Equatable {
    /// The most alternatives, and the most asked ids, at each position.
    public static let most = 1024

    /// First prompt position to report; nil reports none of the prompt.
    public var promptStart: Int?
    /// How many most probable alternatives to report at each position.
    public var topCount: Int
    /// Ids whose log-probability is reported at each position.
    public var tokenIDs: [Int32]

    /// Reports the chosen tokens, and what else is asked for.
    public init(promptStart: Int? = nil, topCount: Int = 0, tokenIDs: [Int32] = []) {
        self.promptStart = promptStart
        self.topCount = topCount
        self.tokenIDs = tokenIDs
    }
}

/// A token with its log-probability in nats: log-softmax of the model's own logits, before penalties and temperature.
public struct TokenLogprob: Sendable, Equatable {
    public var id: Int32
    public var logprob: Float

    public init(id: Int32, logprob: Float) {
        self.id = id
        self.logprob = logprob
    }
}

/// The log-probabilities at one position.
public struct PositionLogprobs: Sendable, Equatable {
    /// The token that stands there; its `logprob` is NaN at the very first prompt position, which nothing predicts.
    public var token: TokenLogprob
    /// The most probable tokens, best first; `LogprobOptions.topCount` of them, none at the first prompt position.
    public var top: [TokenLogprob]
    /// The asked ids, in the order asked; none at the first prompt position.
    public var asked: [TokenLogprob]

    public init(token: TokenLogprob, top: [TokenLogprob] = [], asked: [TokenLogprob] = []) {
        self.token = token
        self.top = top
        self.asked = asked
    }
}

/// What the engine reports while it works on one request, in this order: `prompt` once, `token`s,
/// `routedExperts` if asked for, `finished` once.
public enum GenerationEvent: Sendable {
    /// The prompt has been computed.
    ///
    /// - Parameters:
    ///   - cachedTokens: prompt tokens whose keys and values were found in a cache.
    ///   - logprobs: one entry per prompt position from `LogprobOptions.promptStart`; empty when not asked for.
    case prompt(cachedTokens: Int, logprobs: [PositionLogprobs])
    /// One generated token; a stop token is reported too.
    case token(id: Int32, logprobs: PositionLogprobs?)
    /// The logical experts of every layer and token from `GenerationRequest.routedExpertsStart` to the last but one.
    case routedExperts(RoutedExperts)
    /// Nothing follows.
    case finished(FinishReason)
}

/// Which experts served a request's tokens.
public struct RoutedExperts: Sendable, Equatable {
    /// Rows; the last token has none, because it is never fed back.
    public var tokens: Int
    /// L: all decoder layers; dense ones hold zeros.
    public var layers: Int
    /// K.
    public var topK: Int
    /// Logical expert ids, `[tokens, L, K]`.
    public var ids: [Int32]

    /// Experts of `tokens` tokens.
    public init(tokens: Int, layers: Int, topK: Int, ids: [Int32]) {
        self.tokens = tokens
        self.layers = layers
        self.topK = topK
        self.ids = ids
    }
}

/// Why a generation ended.
public enum FinishReason: Sendable, Equatable {
    /// The token `id` was a stop or end-of-sequence id.
    case stopToken(id: Int32)
    /// `maxNewTokens` or the context length was reached.
    case length
    /// The request left the queue without having run.
    case refused(EngineError)
    /// The engine could not go on.
    case aborted(message: String)
}
