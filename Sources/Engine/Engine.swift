// Engine: requests in, tokens out. Owns the scheduler, the pages, the recorder and the model.
//
// Runs on a thread of its own, because a step blocks while the model computes. A step contains no `await`: messages that
// arrived meanwhile (submit, cancel, record) run between steps, so they never see a half-made batch.

internal import Compute
public import Experts

/// Runs requests in shared batches. Whoever loads an engine must shut it down, or its threads live on.
public actor Engine {
    /// What was loaded, and where it runs.
    public nonisolated let model: ModelDescription

    public nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

    private let thread: EngineThread
    private let configuration: EngineConfiguration
    private let runner: ModelRunner
    private let sampler: Sampler
    private let endOfSequence: Set<Int32>
    private let scheduler: Scheduler

    private var waiting: [WaitingRequest] = []
    private var running: [Sequence] = []
    private var freeSlots: [Int]
    private var pages: PagePool
    private var batch = Batch()
    /// Nil for a model without experts.
    private var recordings: Recordings?
    private var totals = EngineStatistics()
    private var throughput = Throughput()

    private var wake: CheckedContinuation<Void, Never>?
    private var isStarted = false
    private var isDraining = false
    private var isStopped = false

    init(_ parts: EngineParts, configuration: EngineConfiguration, thread: EngineThread) {
        let model = parts.description
        self.model = model
        self.thread = thread
        self.configuration = configuration
        runner = ModelRunner(
            model: parts.model, backend: parts.backend, placement: parts.placement,
            tokens: configuration.chunkedPrefillSize + configuration.maxRunningRequests,
            sequences: configuration.maxRunningRequests, contextLength: model.contextLength, pages: parts.pages)
        sampler = Sampler(vocabularySize: model.vocabularySize, backend: parts.backend)
        endOfSequence = Set(model.endOfSequenceIDs)
        scheduler = Scheduler(
            maxRunning: configuration.maxRunningRequests, prefillBudget: configuration.chunkedPrefillSize)
        freeSlots = Array((0..<configuration.maxRunningRequests).reversed())
        pages = PagePool(pageCount: parts.pages)
        guard let placement = parts.placement else { return }
        recordings = Recordings(
            placement: placement, sparseLayers: runner.sparseLayers, topK: model.topK,
            tokens: configuration.chunkedPrefillSize + configuration.maxRunningRequests,
            settings: configuration.recorder)
    }

    // MARK: Requests

    /// Queues a request. Dropping the stream cancels it.
    ///
    /// - Throws: `EngineError` when the request is refused.
    public func submit(_ request: GenerationRequest) throws(EngineError) -> AsyncStream<GenerationEvent> {
        guard !isDraining else { throw .shuttingDown }
        let lengthLimit = try request.validated(for: model)
        guard !running.contains(where: { $0.request.id == request.id }),
            !waiting.contains(where: { $0.request.id == request.id })
        else { throw .duplicateID(request.id) }
        let number = totals.requestsTotal + 1
        let (stream, events) = AsyncStream.makeStream(of: GenerationEvent.self)
        waiting.append(WaitingRequest(number: number, request: request, lengthLimit: lengthLimit, events: events))
        // Who finds a place at once does not wait.
        admit()
        if waiting.count > configuration.maxQueuedRequests {
            waiting.removeLast()
            throw .queueFull(limit: configuration.maxQueuedRequests)
        }
        totals.requestsTotal = number
        events.onTermination = { [weak self] reason in
            guard case .cancelled = reason, let self else { return }
            Task { await self.cancel(number: number) }
        }
        startIfNeeded()
        return stream
    }

    /// Ends the request `id`, if there is one; its stream finishes with `.aborted`.
    public func cancel(_ id: String) {
        if let number = running.first(where: { $0.request.id == id })?.number
            ?? waiting.first(where: { $0.request.id == id })?.number
        {
            cancel(number: number)
        }
    }

    private func cancel(number: Int) {
        let reason = FinishReason.aborted(message: "The request was cancelled.")
        if let index = waiting.firstIndex(where: { $0.number == number }) {
            let request = waiting.remove(at: index)
            request.events.yield(.finished(reason))
            request.events.finish()
        }
        running.first { $0.number == number }?.finish = reason
        retireFinished()
    }

    /// The state at this moment.
    public func statistics() -> EngineStatistics {
        var statistics = totals
        statistics.runningRequests = running.count
        statistics.queuedRequests = waiting.count
        statistics.maxTotalTokens = model.tokenCapacity
        statistics.usedTokens = (pages.pageCount - pages.freeCount) * Self.pageSize
        statistics.contextLength = model.contextLength
        statistics.generationThroughput = throughput.tokensPerSecond
        statistics.isRecording = recordings?.isRecording ?? false
        return statistics
    }

    // MARK: Recording

    /// What was recorded so far; nil when recording is configured off.
    public func recorded() -> Snapshot? { recordings?.status?.snapshot }

    /// What is being recorded, and what that costs; nil when recording is configured off.
    public func recordingStatus() -> RecordingStatus? { recordings?.status }

    /// Replaces the recorder by one at rest, or by none: for benchmarks, which compare them in one process.
    package func replaceRecorder(_ settings: RecorderSettings?) {
        recordings?.replaceRecorder(settings)
    }

    /// Resets the recorder and begins to record.
    public func startRecording() throws(EngineError) {
        guard recordings?.start() == true else { throw .recordingDisabled }
    }

    /// Stops recording; what was recorded is kept.
    public func stopRecording() throws(EngineError) {
        guard recordings?.stop() == true else { throw .recordingDisabled }
    }

    /// Takes what was recorded and writes it to a file. If that fails, what was taken is put back.
    ///
    /// - Returns: the file's path.
    public func dumpRecord() async throws(EngineError) -> String {
        guard let snapshot = recordings?.dump() else { throw .recordingDisabled }
        let starts = recordings?.starts
        // The file is written off the engine's thread: a slow disk must not hold up a step.
        do {
            let path = try await DumpFile.write(
                snapshot, model: model.architecture, folder: configuration.recorderDirectory)
            recordings?.lastDump = path
            return path
        } catch {
            // A start in the meantime means that nobody wants the old data.
            if starts == recordings?.starts { recordings?.restore(snapshot) }
            throw error
        }
    }

    // MARK: Stopping

    /// Refuses new requests, finishes those that run, and returns when the last is done or `deadline` has passed
    /// (what still runs then is aborted).
    public func shutdown(deadline: Duration) async {
        isDraining = true
        let end = ContinuousClock.now + deadline
        while !(running.isEmpty && waiting.isEmpty), ContinuousClock.now < end {
            try? await Task.sleep(for: .milliseconds(10))
            if Task.isCancelled { break }
        }
        let reason = FinishReason.aborted(message: "The server is shutting down.")
        for request in waiting {
            request.events.yield(.finished(reason))
            request.events.finish()
        }
        waiting = []
        for sequence in running { sequence.finish = reason }
        retireFinished()
        guard !isStopped else { return }
        isStopped = true
        wake?.resume()
        wake = nil
        runner.backend.stop()
    }

    /// Checks that every page and place is exactly where it should be.
    func checkIntegrity() {
        pages.checkIntegrity(leased: running.map(\.pages))
        precondition(
            Set(freeSlots + running.map(\.slot)).count == configuration.maxRunningRequests, "a place is lost or shared")
    }

    // MARK: Stepping

    static let pageSize = KVCache.pageSize

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
                await withCheckedContinuation { wake = $0 }
            }
        }
    }

    /// One pass: admit, choose tokens, compute, publish. Returns whether there was anything to do.
    private func step() -> Bool {
        admit()
        guard !running.isEmpty else { return false }
        scheduler.next(
            running.lazy.map {
                Scheduler.Progress(
                    computed: $0.computed, known: $0.tokens.count, prompt: $0.request.promptIDs.count)
            }, into: &batch)
        totals.passesTotal += 1
        // Taken out for the pass, so that it is not copied.
        if var recordings = recordings.take() {
            let wantsExperts = running.contains { $0.request.routedExpertsStart != nil }
            let placement = recordings.placement
            recordings.record(
                pass: totals.passesTotal, batch, running, wantsExperts: wantsExperts,
                compute: { compute(counts: $0, ids: $1) }, visit: { keepExperts($0, placement) })
            self.recordings = recordings
        } else {
            compute(counts: nil, ids: nil)
        }
        retireFinished()
        return true
    }

    /// Adds the experts of the pass's tokens to the sequences whose requests asked for them.
    private func keepExperts(_ detail: PassDetail, _ placement: Placement) {
        var token = 0
        for entry in batch.entries {
            let sequence = running[entry.sequence]
            if let start = sequence.request.routedExpertsStart {
                for position in max(start, entry.start)..<max(start, entry.start + entry.count) {
                    let row = token + position - entry.start
                    for layer in 0..<detail.layers {
                        let ids = detail.experts(layer: layer)
                        for column in row * detail.topK..<(row + 1) * detail.topK {
                            let expert = ids.map { placement.logical(layer: layer, slot: Int($0[column])) }
                            sequence.routedExperts.append(Int32(truncatingIfNeeded: expert ?? 0))
                        }
                    }
                }
            }
            token += entry.count
        }
    }

    private func compute(counts: UnsafeMutablePointer<Int32>?, ids: UnsafeMutablePointer<Int32>?) {
        var generated = 0
        runner.run(batch, sequences: running, counts: counts, ids: ids) { row in
            let entry = batch.entries[row.entry]
            let sequence = running[entry.sequence]
            if row.position < sequence.request.promptIDs.count - 1 {
                sequence.promptLogprobs.append(
                    row.logprobs(of: sequence.tokens[row.position + 1], sequence.request.logprobs, model.vocabularySize)
                )
            } else {
                generated += extend(sequence, with: row)
            }
        }
        for entry in batch.entries {
            let sequence = running[entry.sequence]
            sequence.computed = entry.start + entry.count
            let prompt = sequence.request.promptIDs.count
            totals.promptTokensTotal += max(0, min(prompt, sequence.computed) - entry.start)
        }
        totals.generatedTokensTotal += generated
        throughput.add(generated)
    }

    /// Chooses the sequence's next token from the logits of its last one. Returns the tokens generated, 0 or 1.
    private func extend(_ sequence: Sequence, with row: ModelRunner.LogitRow) -> Int {
        let request = sequence.request
        let parameters = request.sampling
        if sequence.generated == 0 {
            sequence.events.yield(.prompt(cachedTokens: 0, logprobs: sequence.takePromptLogprobs()))
        }
        guard sequence.tokens.count < sequence.lengthLimit else {
            sequence.finish = .length
            return 0
        }
        let suppressed = sequence.generated < parameters.minNewTokens ? sequence.stopIDs : []
        // Log-probabilities are the model's own, so they are read before the row is changed; which token they are for is
        // known after.
        let asked = request.logprobs.map { row.alternatives($0, model.vocabularySize) }
        let saved = request.logprobs == nil ? nil : sampler.keep(row.logits)
        let token = sampler.choose(
            row.logits, best: row.best, maximum: row.maximum, parameters: parameters, suppressed: suppressed,
            state: &sequence.sampler)
        var logprobs = asked
        if let saved { logprobs?.token = TokenLogprob(id: token, logprob: saved[Int(token)] - row.logSumExp) }
        sequence.tokens.append(token)
        sequence.events.yield(.token(id: token, logprobs: logprobs))
        if sequence.stopIDs.contains(token) {
            sequence.finish = .stopToken(id: token)
        } else if sequence.tokens.count >= sequence.lengthLimit {
            sequence.finish = .length
        }
        return 1
    }

    private func admit() {
        while let next = waiting.first {
            let pageCount = (next.lengthLimit + Self.pageSize - 1) / Self.pageSize
            guard scheduler.admits(pages: pageCount, running: running.count, freePages: pages.freeCount),
                let slot = freeSlots.popLast(), let leased = pages.lease(pageCount)
            else { return }
            waiting.removeFirst()
            runner.setPages(leased, slot: slot)
            let seed = next.request.sampling.seed ?? configuration.randomSeed &+ UInt64(next.number) &* 0x9E37_79B9
            running.append(
                Sequence(
                    next, pages: leased, slot: slot, endOfSequence: endOfSequence,
                    sampler: SamplerState(random: RandomSequence(seed: seed))))
        }
    }

    private func retireFinished() {
        for sequence in running {
            guard let reason = sequence.finish else { continue }
            if let experts = sequence.allRoutedExperts(layers: model.layers, topK: model.topK) {
                sequence.events.yield(.routedExperts(experts))
            }
            sequence.events.yield(.finished(reason))
            sequence.events.finish()
            pages.release(sequence.pages)
            freeSlots.append(sequence.slot)
        }
        running.removeAll { $0.finish != nil }
    }
}
