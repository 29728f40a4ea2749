// ScriptedEngine: an engine that says what a test told it to, and remembers what it was asked.

import Engine
import Synchronization

@testable import Server

/// An engine that says what a test told it to.
final class ScriptedEngine: InferenceEngine {
    /// What becomes of a request.
    enum Script: Sendable {
        /// These events, then the end of the stream.
        case events([GenerationEvent])
        /// These events, and then nothing until the stream is dropped or the request cancelled.
        case hanging([GenerationEvent])
        /// The request is refused.
        case refused(EngineError)
    }

    struct State {
        var submitted: [GenerationRequest] = []
        var paces: [GenerationStream.Pace] = []
        var cancelled: [String] = []
        /// How many requests were ended from outside.
        var stopped = 0
        var calls: [String] = []
        var isRecorderOff = false
        var recording: RecordingStatus?
        /// What the next questions about `recording` are told, one each.
        var recordings: [RecordingStatus?] = []
        var statistics = EngineStatistics()
        var open: [String: Open] = [:]
    }

    /// A request that hangs.
    struct Open {
        var source: GenerationSource
        var index: Int

        func send(_ event: GenerationEvent) { source.send(event, of: index) }
    }

    let model: ModelDescription
    let state = Mutex(State())
    private let script: @Sendable (GenerationRequest) -> Script

    init(_ script: @escaping @Sendable (GenerationRequest) -> Script) {
        self.script = script
        var model = ModelDescription()
        model.architecture = "Qwen2MoeForCausalLM"
        model.modelType = "qwen2_moe"
        model.vocabularySize = 8192
        model.contextLength = 2048
        model.weightBytes = 3 << 29
        model.cacheBytes = 1 << 28
        model.endOfSequenceIDs = [8191, 8189]
        self.model = model
    }

    /// An engine that answers every request with `ids`.
    convenience init(replying ids: [Int32], finish: FinishReason = .length) {
        self.init { .events(.reply(ids, to: $0, finish: finish)) }
    }

    func submit(
        _ requests: [GenerationRequest], pace: GenerationStream.Pace
    ) async throws(EngineError) -> GenerationStream {
        let (stream, source) = GenerationStream.makeStream(count: requests.count, pace: pace) { [weak self] index in
            self?.stop(requests[index].id)
        }
        state.withLock { $0.paces.append(pace) }
        for (index, request) in requests.enumerated() {
            state.withLock { $0.submitted.append(request) }
            switch script(request) {
            case .events(let events):
                for event in events { source.send(event, of: index) }
            case .hanging(let events):
                for event in events { source.send(event, of: index) }
                state.withLock { $0.open[request.id] = Open(source: source, index: index) }
            case .refused(let error): throw error
            }
        }
        return stream
    }

    func cancel(_ id: String) async {
        state.withLock { $0.cancelled.append(id) }
        end(id)
    }

    private func stop(_ id: String) {
        state.withLock { $0.stopped += 1 }
        end(id)
    }

    private func end(_ id: String) {
        state.withLock { $0.open.removeValue(forKey: id) }?.send(.finished(.aborted(message: "cancelled")))
    }

    func statistics() async -> EngineStatistics { state.withLock { $0.statistics } }

    func flushCache() async -> Bool {
        state.withLock { state in
            state.calls.append("flush")
            return state.statistics.runningRequests == 0
        }
    }

    func startRecording() async throws(EngineError) { try control("start") }

    func stopRecording() async throws(EngineError) { try control("stop") }

    func dumpRecord() async throws(EngineError) -> String {
        try control("dump")
        return "/records/one.pt"
    }

    func recordingStatus() async -> RecordingStatus? {
        state.withLock { $0.recordings.isEmpty ? $0.recording : $0.recordings.removeFirst() }
    }

    func shutdown(deadline: Duration) async { state.withLock { $0.calls.append("shutdown") } }

    private func control(_ name: String) throws(EngineError) {
        let isOff = state.withLock { state in
            state.calls.append(name)
            return state.isRecorderOff
        }
        if isOff { throw .recordingDisabled }
    }
}

extension [GenerationEvent] {
    /// A whole reply of `ids`, with log-probabilities where `request` asks for them: −0.5 for each id, and NaN for the
    /// first position of the prompt.
    static func reply(
        _ ids: [Int32], to request: GenerationRequest, finish: FinishReason = .length, cachedTokens: Int = 0
    ) -> Self {
        func position(_ id: Int32, _ options: LogprobOptions, isFirst: Bool = false) -> PositionLogprobs {
            guard !isFirst else { return PositionLogprobs(token: TokenLogprob(id: id, logprob: .nan)) }
            return PositionLogprobs(
                token: TokenLogprob(id: id, logprob: -0.5),
                top: (0..<options.topCount).map { TokenLogprob(id: Int32($0), logprob: -1 - Float($0)) },
                asked: options.tokenIDs.map { TokenLogprob(id: $0, logprob: -9) })
        }
        let options = request.logprobs
        let prompt = options.flatMap { options in
            options.promptStart.map { start in
                request.promptIDs.indices.dropFirst(start).map {
                    position(request.promptIDs[$0], options, isFirst: $0 == 0)
                }
            }
        }
        return [.prompt(cachedTokens: cachedTokens, logprobs: prompt ?? [])]
            + ids.map { id in .token(id: id, logprobs: options.map { position(id, $0) }) } + [.finished(finish)]
    }
}
