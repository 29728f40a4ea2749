// Engine: requests in, tokens out. Owns the scheduler, the recorder and the model.
//
// Runs on a thread of its own, because a step blocks while the model computes. A step contains no `await`: messages that
// arrived meanwhile (submit, cancel, record) run between steps, so they never see a half-made batch.

internal import Compute
internal import Models

/// Runs requests in shared batches. Whoever loads an engine must shut it down, or its threads live on.
public actor Engine {
    /// What was loaded, and where it runs.
    public nonisolated let model: ModelDescription

    public nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

    let thread: EngineThread
    let configuration: EngineConfiguration
    let runner: ModelRunner
    let sampler: Sampler
    private let endOfSequence: Set<Int32>

    var scheduler: Scheduler
    /// The requests that wait or run, by their sequence's number.
    var generations: [Int: Generation] = [:]
    var batch = Batch()
    /// Requests that end after this step.
    var finished: [(generation: Generation, reason: FinishReason)] = []
    /// Nil for a model without experts.
    var recordings: Recordings?
    var totals = EngineStatistics()
    var throughput = Throughput()

    private var wake: CheckedContinuation<Void, Never>?
    private var isStarted = false
    private var isDraining = false
    private var isStopped = false

    init(_ parts: EngineParts, configuration: EngineConfiguration, thread: EngineThread) {
        let model = parts.description
        let passTokens = configuration.chunkedPrefillSize + configuration.maxRunningRequests
        self.model = model
        self.thread = thread
        self.configuration = configuration
        runner = ModelRunner(
            model: parts.model, backend: parts.backend, placement: parts.placement, tokens: passTokens,
            sequences: configuration.maxRunningRequests, contextLength: model.contextLength, pages: parts.pages,
            cacheType: configuration.cacheType)
        sampler = Sampler(vocabularySize: model.vocabularySize, backend: parts.backend)
        endOfSequence = Set(model.endOfSequenceIDs)
        scheduler = Scheduler(
            Scheduler.Limits(
                running: configuration.maxRunningRequests, waiting: configuration.maxQueuedRequests,
                prefillTokens: configuration.chunkedPrefillSize, pages: parts.pages, pageSize: KVCache.pageSize,
                policy: configuration.schedulePolicy,
                reusesPrefixes: configuration.reusesPrefixes,
                sharesOutput: !type(of: parts.model).tellsPromptsFromOutput,
                preemptionThreshold: configuration.preemptionThreshold, passCost: parts.passCost))
        guard let placement = parts.placement else { return }
        recordings = Recordings(
            placement: placement, sparseLayers: runner.sparseLayers, topK: model.topK, tokens: passTokens,
            settings: configuration.recorder)
    }

    // MARK: Requests

    /// Queues requests, in their order. Dropping the stream cancels them.
    ///
    /// - Parameters:
    ///   - requests: what to generate.
    ///   - pace: when the reader of the stream is woken.
    /// - Returns: their events.
    /// - Throws: `EngineError` when one of them is refused; none of them runs then.
    public func submit(
        _ requests: [GenerationRequest], pace: GenerationStream.Pace = .tokens(1)
    ) throws(EngineError) -> GenerationStream {
        guard !isDraining else { throw .shuttingDown }
        let first = totals.requestsTotal + 1
        let (stream, source) = GenerationStream.makeStream(count: requests.count, pace: pace) { [weak self] index in
            Task { await self?.cancel(number: first + index) }
        }
        do {
            for (index, request) in requests.enumerated() { try add(request, source, index) }
        } catch {
            for number in first..<totals.requestsTotal + 1 { cancel(number: number) }
            throw error
        }
        startIfNeeded()
        return stream
    }

    /// Queues one request, as `submit(_:pace:)` does.
    public func submit(_ request: GenerationRequest) throws(EngineError) -> GenerationStream { try submit([request]) }

    private func add(_ request: GenerationRequest, _ source: GenerationSource, _ index: Int) throws(EngineError) {
        let lengthLimit = try request.validated(for: model)
        guard generation(request.id) == nil else { throw .duplicateID(request.id) }
        let number = totals.requestsTotal + 1
        let sequence = Sequence(
            number: number, prompt: request.promptIDs, lengthLimit: lengthLimit,
            priority: configuration.usesPriorities ? request.priority : 0,
            promptLogprobsStart: request.logprobs?.promptStart, expertsStart: request.routedExpertsStart)
        if let displaced = scheduler.add(sequence) {
            guard let generation = generations[displaced.number] else {
                throw .queueFull(limit: configuration.maxQueuedRequests)
            }
            end(generation, .refused(.displaced))
        }
        totals.requestsTotal = number
        generations[number] = Generation(
            request, sequence: sequence, endOfSequence: endOfSequence,
            seed: request.sampling.seed ?? configuration.randomSeed &+ UInt64(number) &* 0x9E37_79B9, source: source,
            index: index)
    }

    /// Ends the request `id`, if there is one; its stream finishes with `.aborted`.
    public func cancel(_ id: String) {
        if let number = generation(id)?.sequence.number { cancel(number: number) }
    }

    private func cancel(number: Int) {
        guard let generation = generations[number] else { return }
        end(generation, .aborted(message: "The request was cancelled."))
    }

    private func generation(_ id: String) -> Generation? { generations.values.first { $0.request.id == id } }

    /// The state at this moment.
    public func statistics() -> EngineStatistics {
        var statistics = totals
        statistics.runningRequests = scheduler.running.count
        statistics.queuedRequests = scheduler.waiting.count
        statistics.preemptionsTotal = scheduler.preemptions
        statistics.maxTotalTokens = model.tokenCapacity
        statistics.usedTokens = scheduler.usedPages * KVCache.pageSize
        statistics.contextLength = model.contextLength
        statistics.generationThroughput = throughput.tokensPerSecond
        statistics.isRecording = recordings?.isRecording ?? false
        return statistics
    }

    /// Empties the cache of prompts and outputs.
    ///
    /// - Returns: false, and nothing happens, while requests run or wait.
    public func flushCache() -> Bool { scheduler.flush() }

    /// Checks that every page and place is exactly where it should be.
    func checkIntegrity() {
        scheduler.checkIntegrity()
        precondition(
            Set(generations.keys) == Set((scheduler.running + scheduler.waiting).map(\.number)), "a request is lost")
    }

    // MARK: Running

    /// Refuses new requests, finishes those that run, and returns when the last is done or `deadline` has passed
    /// (what still runs then is aborted).
    public func shutdown(deadline: Duration) async {
        isDraining = true
        let end = ContinuousClock.now + deadline
        while !scheduler.isIdle, ContinuousClock.now < end {
            try? await Task.sleep(for: .milliseconds(10))
            if Task.isCancelled { break }
        }
        for generation in generations.values { self.end(generation, .aborted(message: "The server is shutting down.")) }
        guard !isStopped else { return }
        isStopped = true
        wake?.resume()
        wake = nil
        runner.backend.stop()
    }

    private func startIfNeeded() {
        if !isStarted {
            isStarted = true
            Task { await run() }
        }
        wake?.resume()
        wake = nil
    }

    /// Steps while there is work, sleeps while there is none.
    private func run() async {
        while !isStopped {
            if step() {
                await thread.yield()
            } else {
                assert(isIntact)
                await withCheckedContinuation { wake = $0 }
            }
        }
    }

    private var isIntact: Bool {
        checkIntegrity()
        return true
    }
}
