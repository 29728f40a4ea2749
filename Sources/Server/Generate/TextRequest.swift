// TextRequest and TextOutput: what goes into the text generator, and what comes out.

public import Engine

/// One prompt to continue, as text or as ids.
public struct TextRequest: Sendable {
    /// What is to be continued.
    public enum Prompt: Sendable, Equatable {
        /// Text, with the special tokens that the tokenizer adds by itself.
        case text(String)
        /// Text that already holds its special tokens, such as a rendered chat template.
        case templated(String)
        /// Token ids.
        case ids([Int32])
    }

    /// The request's name, in replies and for aborting it.
    public var id: String
    /// The common name of the batch that the request belongs to; its own name when it is alone.
    public var group: String
    /// What is to be continued.
    public var prompt: Prompt
    /// How the next token is chosen.
    public var sampling: SamplingParameters
    /// Texts that end the generation; never empty strings.
    public var stop: [String] = []
    /// Which log-probabilities to collect; nil for none.
    public var logprobs: LogprobOptions?
    /// First position whose experts are reported; nil reports none.
    public var routedExpertsStart: Int?
    /// Larger goes first, if the engine uses priorities.
    public var priority = 0
    /// Whether special tokens are left out of the text.
    public var skipSpecialTokens = true
    /// Whether the text keeps the stop text or stop token that ended it.
    public var noStopTrim = false
    /// Whether `sampling.maxNewTokens` is ignored and the context length is the limit.
    public var fillsContext = false

    /// A request to continue `prompt`.
    public init(
        id: String = TextRequest.randomID(), prompt: Prompt, sampling: SamplingParameters = SamplingParameters()
    ) {
        self.id = id
        group = id
        self.prompt = prompt
        self.sampling = sampling
    }

    /// 32 random hexadecimal digits.
    public static func randomID() -> String {
        func digits() -> String {
            let text = String(UInt64.random(in: .min ... .max), radix: 16)
            return String(repeating: "0", count: 16 - text.count) + text
        }
        return digits() + digits()
    }
}

/// Everything generated for one request so far.
public struct TextOutput: Sendable, Equatable {
    /// The request's name.
    public var id: String
    /// The text so far, without anything that may still turn out to be the beginning of a stop text.
    public var text = ""
    /// The tokens so far, stop token included.
    public var outputIDs: [Int32] = []
    /// The prompt.
    public var promptIDs: [Int32]
    /// Prompt tokens whose keys and values were found in a cache.
    public var cachedTokens = 0
    /// One entry per prompt position asked for.
    public var promptLogprobs: [PositionLogprobs] = []
    /// One entry per generated token, when asked for.
    public var outputLogprobs: [PositionLogprobs] = []
    /// The experts of the tokens, once the request is done, if asked for.
    public var routedExperts: RoutedExperts?
    /// Why nothing follows; nil while the request runs.
    public var finish: TextFinish?
    /// From submission to the first token.
    public var timeToFirstToken: Duration?
    /// From submission to the latest token or the end.
    public var elapsed: Duration = .zero

    /// Nothing generated yet.
    public init(id: String, promptIDs: [Int32]) {
        self.id = id
        self.promptIDs = promptIDs
    }
}

/// Why a text ended.
public enum TextFinish: Sendable, Equatable {
    /// A stop or end-of-sequence token.
    case stopToken(Int32)
    /// A stop text.
    case stopText(String)
    /// As many tokens as asked for, or as fit.
    case length
    /// The engine could not go on, or was told not to.
    case aborted(String)
}
