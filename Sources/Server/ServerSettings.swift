// ServerSettings: what the operator chose, as far as the server needs to know it.

/// What the operator chose.
public struct ServerSettings: Sendable {
    /// Where to listen.
    public var host = "127.0.0.1"
    /// Port to listen on; 0 takes any free one.
    public var port = 30000
    /// The model's name in OpenAI replies.
    public var servedModelName: String
    /// The model's folder, or the name of an embedded model.
    public var modelPath: String
    /// Clients must send this key; nil lets everyone in.
    public var apiKey: String?
    /// Whether OpenAI replies tell how many prompt tokens were found in the cache.
    public var reportsCache = false
    /// How many tokens of a stream go into one event, after the first.
    public var streamInterval = 1
    /// Whether events of `/generate` hold what is new of `text` and `output_ids`, instead of everything so far.
    public var streamsIncrementally = false
    /// How much a client may send, and how long it may take.
    public var limits = RequestLimits()
    /// How long running requests may take to end after the signal to stop.
    public var shutdownTimeout: Duration = .seconds(30)
    /// How long `/health_generate` waits for a token.
    public var healthTimeout: Duration = .seconds(20)
    /// The version in `/server_info`.
    public var version = ""
    /// All arguments by their sglang names, shown by `/server_info`.
    public var arguments: [String: JSONValue] = [:]

    /// Settings for the model at `modelPath`.
    public init(modelPath: String, servedModelName: String) {
        self.modelPath = modelPath
        self.servedModelName = servedModelName
    }
}
