// Engine+Load: from files to a running engine.

internal import Compute
internal import Experts
public import Models

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Darwin
#endif

/// What an engine is made of.
struct EngineParts: Sendable {
    var model: any LanguageModel
    var backend: any Backend
    var description: ModelDescription
    /// Pages of the KV cache.
    var pages: Int
    /// Where the experts are; nil for a model without any.
    var placement: Placement?
    /// What a pass costs beside its tokens, in tokens.
    var passCost: Int
}

extension Engine {
    /// Loads a model.
    ///
    /// - Parameters:
    ///   - files: the model's files.
    ///   - configuration: limits and switches.
    ///   - threads: CPU threads to compute with; nil takes one for each CPU that this process may use.
    ///   - progress: called now and then, on the engine's thread.
    ///   - report: called with what became of `configuration.packedCache`, on the engine's thread.
    /// - Returns: an engine at rest.
    /// - Throws: `ModelFileError` that names file, tensor, found and expected, or `EngineError.notEnoughMemory`, or
    ///   `ExpertFileError` for a placement that does not fit the model.
    public static func load(
        _ files: ModelFiles, configuration: EngineConfiguration = EngineConfiguration(), threads: Int? = nil,
        progress: @escaping @Sendable (LoadProgress) -> Void = { _ in },
        report: @escaping @Sendable (String) -> Void = { _ in }
    ) async throws -> Engine {
        let thread = EngineThread()
        let parts = try await thread.perform {
            try makeParts(files, configuration: configuration, threads: threads, progress: progress, report: report)
        }
        return Engine(parts, configuration: configuration, thread: thread)
    }

    private static func makeParts(
        _ files: ModelFiles, configuration: EngineConfiguration, threads: Int?,
        progress: @escaping @Sendable (LoadProgress) -> Void, report: (String) -> Void
    ) throws -> EngineParts {
        let numbers = try ModelConfiguration(files)
        let checkpoint = configuration.loadFormat == .dummy ? nil : try Checkpoint(files)
        let contextLength = configuration.contextLength ?? numbers.maxPositions
        try numbers.check(contextLength: contextLength, file: files.location(of: "config.json"))
        let survey = WeightSurvey(numbers, of: checkpoint, precision: configuration.precision)
        if let problem = survey.problems.first { throw problem }
        let need = MemoryNeed(numbers, configuration, contextLength: contextLength, weights: survey.loadedBytes)
        let pages = max(1, need.tokens(physicalMemory) / KVCache.pageSize)
        let needed = need.bytes(tokens: pages * KVCache.pageSize)
        guard needed <= Double(physicalMemory) else {
            throw EngineError.notEnoughMemory(
                neededBytes: Int(min(needed, 1e18)), physicalBytes: physicalMemory)
        }

        guard let backend = CPUBackend(threads: threads, pinsThreads: true) else {
            preconditionFailure("the baseline instruction set is always there")
        }
        var description = ModelDescription()
        do {
            let source: any WeightSource =
                checkpoint ?? DummyWeights(numbers, seed: configuration.randomSeed, lanes: backend.lanes)
            var cache: PackedCache?
            if let directory = configuration.packedCache {
                cache = PackedCache(
                    directory: directory, files: files, weights: source, survey: survey,
                    precision: configuration.precision, backend: backend)
            }
            let loader = WeightLoader(
                source, survey: survey, backend: backend, cache: cache, precision: configuration.precision
            ) {
                progress(LoadProgress(completedBytes: $0, totalBytes: survey.storedBytes))
            }
            let model = try ModelRegistry.load(
                numbers, weights: loader, positions: contextLength, file: files.location(of: "config.json"))
            if configuration.packedCache != nil { report(cache?.finish() ?? PackedCache.needless) }
            description.parameters = loader.parameters
            description.precision = configuration.precision
            description.weightBytes = Int(survey.loadedBytes)
            description.cacheBytes = pages * KVCache.pageSize * need.bytesPerToken
            description.architecture = numbers.architecture
            description.modelType = numbers.modelType
            description.layers = numbers.layers
            description.sparseLayers = numbers.sparseLayers
            description.experts = numbers.experts
            description.topK = numbers.topK
            description.vocabularySize = numbers.vocabularySize
            description.tokenCapacity = pages * KVCache.pageSize
            description.contextLength = min(contextLength, pages * KVCache.pageSize)
            description.endOfSequenceIDs = numbers.endOfSequenceIDs
            description.device = backend.device.name
            description.instructionSet = backend.device.instructionSet
            description.threads = backend.device.threads
            let placement = try numbers.experts > 0 ? placement(numbers, configuration) : nil
            return EngineParts(
                model: model, backend: backend, description: description, pages: pages, placement: placement,
                passCost: passCost(
                    bytes: loader.matrixBytes, activeParameters: survey.activeParameters,
                    precision: configuration.precision))
        } catch {
            backend.stop()
            throw error
        }
    }

    /// Where the experts are at first.
    private static func placement(
        _ numbers: ModelConfiguration, _ configuration: EngineConfiguration
    ) throws -> Placement {
        let placement = try configuration.placement.placement(
            layers: numbers.layers, logicalExperts: numbers.experts,
            slots: configuration.redundantExperts.map { numbers.experts + $0 })
        guard placement.physicalExperts <= Recorder.mostSlots else {
            throw ExpertFileError.malformed(
                source: "the placement", found: "\(placement.physicalExperts) slots per layer",
                expected: "at most \(Recorder.mostSlots)")
        }
        return placement
    }

    /// What a pass costs beside its tokens, in tokens: it reads `bytes` of weights for one as for many, of which a token is
    /// multiplied by `activeParameters`. While a CPU reads a byte from memory it multiplies about 3.5 float32 numbers, or 6.5
    /// of bfloat16.
    static func passCost(bytes: Int, activeParameters: Int, precision: WeightPrecision) -> Int {
        Int((precision == .stored ? 3.5 : 6.5) * Double(bytes) / Double(max(1, activeParameters)))
    }

    /// Bytes of memory that this machine has.
    static var physicalMemory: Int {
        Int(sysconf(Int32(_SC_PHYS_PAGES))) * Int(sysconf(Int32(_SC_PAGESIZE)))
    }
}
