// RecordingReport: what `/expert_distribution` says, and the events of its stream.

internal import Engine
internal import Experts

#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

/// The reply of `/expert_distribution`. Absent values are left out.
struct RecordingReport: Encodable {
    private struct Window: Encodable {
        var layer: Int
        var last10: Float
        var last100: Float
        var last1000: Float

        enum CodingKeys: String, CodingKey {
            case layer
            case last10 = "last_10"
            case last100 = "last_100"
            case last1000 = "last_1000"
        }
    }

    private struct Cost: Encodable {
        var recordingSeconds: Double
        var passSeconds: Double
        var share: Double

        enum CodingKeys: String, CodingKey {
            case share
            case recordingSeconds = "recording_seconds"
            case passSeconds = "pass_seconds"
        }
    }

    private var isRecording: Bool
    private var mode: String
    private var since: Double?
    private var passes: Int?
    private var tokens: Int?
    private var keptPasses: Int?
    private var droppedPasses: Int?
    private var droppedTokens: Int?
    private var bufferSize: Int?
    private var maxBytes: Int?
    private var layers: Int?
    private var logicalExperts: Int?
    private var physicalExperts: Int?
    private var topK: Int?
    private var lastDump: String?
    private var balancedness: [Window]?
    private var cost: Cost?

    enum CodingKeys: String, CodingKey {
        case mode, since, passes, tokens, layers, balancedness, cost
        case isRecording = "is_recording"
        case keptPasses = "kept_passes"
        case droppedPasses = "dropped_passes"
        case droppedTokens = "dropped_tokens"
        case bufferSize = "buffer_size"
        case maxBytes = "max_bytes"
        case logicalExperts = "logical_experts"
        case physicalExperts = "physical_experts"
        case topK = "top_k"
        case lastDump = "last_dump"
    }

    /// What `status` says; nil is a recorder that is configured off.
    init(_ status: RecordingStatus?) {
        isRecording = status?.isRecording ?? false
        mode = "off"
        guard let status else { return }
        let snapshot = status.snapshot
        mode = snapshot.settings.mode.rawValue
        since = status.since?.timeIntervalSince1970
        passes = snapshot.recorded.passes
        tokens = snapshot.recorded.tokens
        keptPasses = snapshot.kept
        droppedPasses = snapshot.dropped.passes
        droppedTokens = snapshot.dropped.tokens
        if !snapshot.settings.mode.isDetailed {
            if case .passes(let count) = snapshot.settings.capacity { bufferSize = count } else { bufferSize = -1 }
        }
        maxBytes = snapshot.settings.byteBudget
        layers = snapshot.layers
        logicalExperts = snapshot.logicalExperts
        physicalExperts = snapshot.physicalExperts
        topK = snapshot.topK
        lastDump = status.lastDump
        let windows = [10, 100, 1000].map { snapshot.balancedness.layerMeans(last: $0) }
        balancedness = (0..<snapshot.layers).compactMap { layer in
            guard windows.allSatisfy({ $0.indices.contains(layer) }) else { return nil }
            return Window(
                layer: layer, last10: windows[0][layer], last100: windows[1][layer], last1000: windows[2][layer])
        }
        cost = Cost(
            recordingSeconds: status.recordingSeconds, passSeconds: status.passSeconds, share: status.cost)
    }
}

/// One event of `/expert_distribution/stream`: the counts since recording began.
struct RecordingEvent: Encodable {
    private var passes: Int
    private var tokens: Int
    /// Pairs per layer and logical expert.
    private var counts: [[Int64]]

    /// Two statuses of the same moment have the same counts.
    static func moment(_ status: RecordingStatus) -> [Int] { [status.period, status.snapshot.recorded.passes] }

    /// The counts of `status`.
    init(_ status: RecordingStatus) {
        let snapshot = status.snapshot
        passes = snapshot.recorded.passes
        tokens = snapshot.recorded.tokens
        let totals = snapshot.totals
        let width = snapshot.logicalExperts
        counts = (0..<snapshot.layers).map { Array(totals[$0 * width..<($0 + 1) * width]) }
    }
}
