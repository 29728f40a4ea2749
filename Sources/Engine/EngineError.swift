/// Why the engine refused a request or a command.
public enum EngineError: Error, Equatable, CustomStringConvertible {
    /// The prompt has no token.
    case emptyPrompt
    /// A prompt id is not in the vocabulary.
    case tokenOutOfRange(id: Int32, position: Int, vocabularySize: Int)
    /// The prompt leaves no room in the context.
    case promptTooLong(tokens: Int, limit: Int)
    /// Too many requests wait already.
    case queueFull(limit: Int)
    /// The queue is full, and a request of a higher priority took the place.
    case displaced
    /// Another request of the same id is running or waiting.
    case duplicateID(String)
    /// The id is longer than anybody needs.
    case idTooLong(bytes: Int, limit: Int)
    /// A sampling parameter is outside its range.
    case invalidSampling(String)
    /// The engine is shutting down.
    case shuttingDown
    /// Recording was configured off.
    case recordingDisabled
    /// The model and its caches do not fit this machine.
    case notEnoughMemory(neededBytes: Int, physicalBytes: Int)
    /// The dump could not be written.
    case dumpFailed(path: String, reason: String)

    public var description: String {
        switch self {
        case .emptyPrompt: "The prompt is empty: send at least one token."
        case .tokenOutOfRange(let id, let position, let size):
            "Token id \(id) at position \(position) is not in the vocabulary: ids are 0 to \(size - 1)."
        case .promptTooLong(let tokens, let limit):
            "The prompt has \(tokens) tokens, but at most \(limit) fit: shorten it, or raise --context-length or "
                + "--max-total-tokens."
        case .queueFull(let limit):
            "The queue is full: \(limit) requests wait already (--max-queued-requests). Try again later."
        case .displaced:
            "The queue is full, and a request of a higher priority took this one's place. Try again later."
        case .duplicateID(let id): "A request with rid \"\(id)\" is running already: send another rid or none."
        case .idTooLong(let bytes, let limit): "The rid has \(bytes) bytes: at most \(limit) are allowed."
        case .invalidSampling(let reason): reason
        case .shuttingDown: "The server is shutting down."
        case .recordingDisabled:
            "Expert distribution recording is off: start the server with --expert-distribution-recorder-mode stat."
        case .notEnoughMemory(let needed, let physical):
            "The model needs \(needed >> 20) MiB for weights, KV cache and activations, this machine has "
                + "\(physical >> 20) MiB: lower --max-total-tokens, --context-length, --max-running-requests or "
                + "--chunked-prefill-size."
        case .dumpFailed(let path, let reason): "Could not write \(path): \(reason)"
        }
    }
}
