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
    /// Which start or dump of this run the data came after.
    public var period = 0
    /// When that was; nil when recording never began.
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
    private var period = Period()
    /// The file of the last dump.
    var lastDump: String?

    /// What was measured since the recorder was last empty.
    struct Period {
        /// Starts and dumps so far.
        var number = 0
        /// When it began; nil when recording never did.
        var since: Date?
        var recordingTime = Duration.zero
        var passTime = Duration.zero

        /// The period that begins now.
        func next(at date: Date?) -> Period { Period(number: number + 1, since: date) }
    }

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
        status.period = period.number
        status.since = period.since
        status.lastDump = lastDump
        status.recordingSeconds = period.recordingTime / .seconds(1)
        status.passSeconds = period.passTime / .seconds(1)
        return status
    }

    /// Forgets everything and records; false when recording is off.
    mutating func start() -> Bool {
        guard let recorder else { return false }
        period = period.next(at: Date())
        recorder.start()
        return true
    }

    /// Stops recording; false when recording is off.
    func stop() -> Bool {
        recorder?.stop()
        return recorder != nil
    }

    /// What a dump took.
    struct Taken {
        var snapshot: Snapshot
        fileprivate var period: Period
    }

    /// Hands out what was recorded and begins anew; nil when recording is off.
    mutating func dump() -> Taken? {
        guard let recorder else { return nil }
        defer { period = period.next(at: period.since == nil ? nil : Date()) }
        return Taken(snapshot: recorder.dump(), period: period)
    }

    /// Puts back what could not be written, unless recording was started in the meantime: then nobody wants it.
    mutating func restore(_ taken: Taken) {
        guard let recorder, period.number == taken.period.number + 1 else { return }
        recorder.restore(taken.snapshot)
        period.since = taken.period.since
        period.recordingTime += taken.period.recordingTime
        period.passTime += taken.period.passTime
    }

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
        period.recordingTime += (begun - start) + (end - computed)
        period.passTime += end - start
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
