// ModelCheck: what a model is, what it takes, and everything that is wrong with its files, from headers alone.

public import Compute
public import Models

/// What is known of a model before it is loaded.
public struct ModelCheck: Sendable {
    /// What config.json says; nil when the shapes of the weights are not known. Where a key is bad, a default stands for it.
    public var configuration: ModelConfiguration?
    /// Parameters, all and those that a token uses, and bytes in files and in memory; nil without a configuration.
    public var weights: WeightSurvey?
    /// Bytes of KV cache for one token of all layers.
    public var kvBytesPerToken = 0
    /// Bytes for activations, page tables and records.
    public var otherBytes = 0.0
    /// Positions that a sequence may have.
    public var contextLength = 0
    /// Bytes of memory that this machine has.
    public var machineBytes = 0
    /// Tokens that the KV cache can hold at most on this machine.
    public var tokensThatFit = 0
    /// Everything that is wrong with the files.
    public var problems: [ModelFileError] = []

    /// Whether weights and at least one page of the cache fit this machine.
    public var fits: Bool { tokensThatFit > 0 }

    /// At most this many problems are listed.
    public static let mostProblems = 1000

    /// Looks at the files of a model: config.json and the headers of its weights, none of which is read.
    public init(_ files: ModelFiles, _ settings: EngineConfiguration = EngineConfiguration()) {
        machineBytes = Engine.physicalMemory
        (configuration, problems) = ModelConfiguration.read(files)
        var source: Checkpoint?
        var found: [ModelFileError] = []
        if settings.loadFormat == .auto {
            // The closure throws nothing.
            source = try? Checkpoint(files) { (problem) throws(ModelFileError) in found.append(problem) }
            problems += found
        }
        let ofKeys = problems.count - found.count
        defer {
            // What is wrong with a tensor first is why it is missed later; a key may be wrong in two files.
            var tensors: Set<String> = []
            let ofTensors = problems[ofKeys...].filter { $0.item.map { tensors.insert($0).inserted } ?? true }
            problems = Array((problems[..<ofKeys] + ofTensors).prefix(Self.mostProblems))
        }
        guard let configuration else { return }
        // A folder without any weights has one problem, not one for each tensor.
        let hasWeights = source.map { !$0.tensors.isEmpty } ?? true
        let survey = WeightSurvey(
            configuration, of: hasWeights ? source : nil, precision: settings.precision,
            mostProblems: Self.mostProblems)
        weights = survey
        problems += survey.problems.filter { $0.item.map { source?.unread.contains($0) != true } ?? true }
        if let length = settings.contextLength, !problems.contains(where: { $0.item == "max_position_embeddings" }) {
            do {
                try configuration.check(contextLength: length, file: files.location(of: "config.json"))
            } catch {
                problems.append(error)
            }
        }
        contextLength = min(settings.contextLength ?? configuration.maxPositions, configuration.maxPositions)
        let need = MemoryNeed(configuration, settings, contextLength: contextLength, weights: survey.loadedBytes)
        kvBytesPerToken = need.bytesPerToken
        otherBytes = need.bytes(tokens: 0) - survey.loadedBytes
        tokensThatFit = need.tokensThatFit(machineBytes)
    }
}
