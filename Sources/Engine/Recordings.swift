// Recordings: the recorder, the workspaces that a pass fills for it, and what it knows about its own cost.
//
// Owner: the engine. Recording in mode `stat` begins with the engine; the detailed modes wait for a start, because they
// take memory.

public import Experts

#if canImport(FoundationEssentials)
    public import FoundationEssentials
#else
    public import Foundation
#endif

/// What is being recorded, and what that costs.
public struct RecordingStatus: Sendable {
    /// What was recorded: how, how much, balancedness.
    public var snapshot: Snapshot
    /// Whether passes are recorded now.
    public var isRecording = false
    /// When recording began; nil when it never did.
    public var since: Date?
    /// The file of the last dump.
    public var lastDump: String?
    /// Seconds that recording has taken since `since`.
    public var recordingSeconds = 0.0
    /// Seconds that the recorded passes took, recording included.
    public var passSeconds = 0.0

    /// What `snapshot` holds, at rest.
    public init(snapshot: Snapshot) { self.snapshot = snapshot }

    /// Recording's share of the time of its passes.
    public var cost: Double { passSeconds > 0 ? recordingSeconds / passSeconds : 0 }
}

/// The recorder and its workspaces.
struct Recordings {
    private let sparseLayers: [Int]
    private let topK: Int
    private var recorder: Recorder?
    /// Recorders that were replaced.
    private var resting: [RecorderMode: Recorder] = [:]
    private var counts: PassCounts
    /// Tokens of one pass, if somebody wants their experts; taken once, for the largest pass.
    private var detail: PassDetail?
    private let tokens: Int
    private var since: Date?
    private var recordingTime = Duration.zero
    private var passTime = Duration.zero
    /// The file of the last dump.
    var lastDump: String?
    /// How often recording was started.
    private(set) var starts = 0

    /// - Parameters:
    ///   - placement: where the experts are.
    ///   - sparseLayers: layers with experts.
    ///   - topK: K.
    ///   - tokens: the largest pass.
    ///   - settings: how to record; nil is off.
    init(placement: Placement, sparseLayers: [Int], topK: Int, tokens: Int, settings: RecorderSettings?) {
        self.sparseLayers = sparseLayers
        self.tokens = tokens
        self.topK = topK
        counts = PassCounts(placement: placement)
        replaceRecorder(settings)
        if let settings, !settings.mode.isDetailed { _ = start() }
    }

    /// Replaces the recorder by one at rest, or by none; one that was replaced before comes back with its memory.
    mutating func replaceRecorder(_ settings: RecorderSettings?) {
        if let recorder {
            recorder.stop()
            resting[recorder.settings.mode] = recorder
        }
        recorder = settings.map { settings in
            if let rested = resting[settings.mode], rested.settings == settings { return rested }
            return Recorder(
                layers: placement.layers, logicalExperts: placement.logicalExperts,
                physicalExperts: placement.physicalExperts, topK: topK, settings: settings)
        }
    }

    /// Where the experts are now.
    var placement: Placement { counts.placement }

    /// Whether passes are recorded now.
    var isRecording: Bool { recorder?.isRecording ?? false }

    /// What was recorded; nil when recording is off.
    var status: RecordingStatus? {
        guard let recorder else { return nil }
        var status = RecordingStatus(snapshot: recorder.snapshot())
        status.isRecording = recorder.isRecording
        status.since = since
        status.lastDump = lastDump
        status.recordingSeconds = recordingTime / .seconds(1)
        status.passSeconds = passTime / .seconds(1)
        return status
    }

    /// Forgets everything and records; false when recording is off.
    mutating func start() -> Bool {
        guard let recorder else { return false }
        starts += 1
        since = Date()
        recordingTime = .zero
        passTime = .zero
        recorder.start()
        return true
    }

    /// Stops recording; false when recording is off.
    func stop() -> Bool {
        recorder?.stop()
        return recorder != nil
    }

    /// Hands out what was recorded; nil when recording is off.
    func dump() -> Snapshot? { recorder?.dump() }

    /// Puts back what could not be written.
    func restore(_ snapshot: Snapshot) { recorder?.restore(snapshot) }

    /// Runs a pass and records it.
    ///
    /// - Parameters:
    ///   - id: the pass's number.
    ///   - batch: its tokens.
    ///   - sequences: whose tokens they are.
    ///   - name: the name of a sequence's request.
    ///   - wantsExperts: whether a request asked for the experts of its tokens.
    ///   - compute: runs the pass; its arguments are where counts and ids go.
    ///   - visit: called afterwards with the tokens' experts, if somebody wants them.
    mutating func record(
        pass id: Int, _ batch: Batch, _ sequences: [Sequence], name: (Sequence) -> String, wantsExperts: Bool,
        compute: (UnsafeMutablePointer<Int32>?, UnsafeMutablePointer<Int32>?) -> Void, visit: (PassDetail) -> Void
    ) {
        guard isRecording || wantsExperts else { return compute(nil, nil) }
        let start = ContinuousClock.now
        var detail: PassDetail?
        if wantsExperts || recorder?.wantsDetail == true { detail = begin(batch, sequences, name) }
        if isRecording { counts.begin(pass: id, mode: batch.mode, tokens: batch.tokens, placement: counts.placement) }
        let begun = ContinuousClock.now
        if isRecording {
            counts.withMutableCounts { compute($0.baseAddress, detail?.rows) }
        } else {
            compute(nil, detail?.rows)
        }
        let computed = ContinuousClock.now
        detail?.noteWritten(sparseLayers)
        if isRecording { recorder?.append(counts, detail: detail) }
        let end = ContinuousClock.now
        recordingTime += (begun - start) + (end - computed)
        passTime += end - start
        if wantsExperts, let detail { visit(detail) }
    }

    /// The tokens of a pass, named.
    private mutating func begin(_ batch: Batch, _ sequences: [Sequence], _ name: (Sequence) -> String) -> PassDetail {
        let detail = detail ?? PassDetail(layers: counts.placement.layers, topK: topK, capacity: tokens)
        self.detail = detail
        detail.begin(tokens: batch.tokens)
        for entry in batch.entries {
            let sequence = sequences[entry.sequence]
            sequence.tokens.withUnsafeBufferPointer {
                detail.append(
                    request: name(sequence), start: entry.start,
                    ids: UnsafeBufferPointer(rebasing: $0[entry.start..<entry.end]))
            }
        }
        return detail
    }
}
