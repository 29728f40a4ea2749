// ModelPasses: a model without an engine around it: passes of random tokens, and what each of them had to read and compute.

import Compute
import DemoModel
import Engine
import Models

/// What a pass has to read and compute at least.
struct PassCost {
    /// Bytes of weights, experts that nobody chose left out, and of keys and values.
    var bytes = 0.0
    /// Floating-point operations of products and attention.
    var operations = 0.0

    static func + (a: PassCost, b: PassCost) -> PassCost {
        PassCost(bytes: a.bytes + b.bytes, operations: a.operations + b.operations)
    }
}

/// A model, and some sequences that it computes.
final class ModelPasses {
    let backend: CPUBackend
    let model: any LanguageModel
    private let workspace: Workspace
    private let cache: KVCache
    private let tableStride: Int
    private let matrixBytes, expertBytes, parameters, expertParameters: Int
    private let counts: UnsafeMutablePointer<Int32>  // [L, E]
    private let integers: UnsafeMutablePointer<Int32>  // ids, positions, sequences, rows, then page tables
    private let best: UnsafeMutablePointer<Int32>
    private let maxima: UnsafeMutablePointer<Float>
    private var random = BenchGenerator(state: 1)

    /// Loads `files` onto `backend`, with room for `sequences` sequences of `positions` positions, and for passes of as many
    /// tokens.
    init(
        _ files: ModelFiles, configuration: ModelConfiguration, source: any WeightSource, backend: CPUBackend,
        precision: WeightPrecision, cacheType: CacheType, packedCache: String?, sequences: Int, positions: Int,
        progress: @escaping (LoadProgress) -> Void
    ) throws {
        self.backend = backend
        let survey = WeightSurvey(
            configuration, of: source, precision: precision, instructionSet: backend.device.instructionSet)
        if let problem = survey.problems.first { throw problem }
        var packed: PackedCache?
        if let packedCache {
            packed = PackedCache(
                directory: packedCache, files: files, weights: source, survey: survey, precision: precision,
                backend: backend)
        }
        let loader = WeightLoader(source, survey: survey, backend: backend, cache: packed, precision: precision) {
            progress(LoadProgress(completedBytes: $0, totalBytes: survey.storedBytes))
        }
        model = try ModelRegistry.load(
            configuration, weights: loader, positions: positions, file: files.location(of: "config.json"))
        if packedCache != nil { Terminal.error(packed?.finish() ?? PackedCache.needless) }
        (matrixBytes, expertBytes) = (loader.matrixBytes, loader.expertBytes)
        (parameters, expertParameters) = (loader.parameters, loader.expertParameters)
        let tokens = max(sequences, positions)
        workspace = Workspace(configuration, tokens: tokens, logitRows: sequences)
        tableStride = (positions + KVCache.pageSize - 1) / KVCache.pageSize
        let pages = sequences * tableStride
        cache = KVCache(layers: configuration.layers, pages: pages, shape: configuration.cacheShape(cacheType))
        counts = .allocate(capacity: configuration.layers * max(1, configuration.experts))
        counts.initialize(repeating: 0, count: configuration.layers * max(1, configuration.experts))
        integers = .allocate(capacity: 4 * tokens + pages)
        for page in 0..<pages { integers[4 * tokens + page] = Int32(truncatingIfNeeded: page) }
        best = .allocate(capacity: sequences)
        maxima = .allocate(capacity: sequences)
    }

    deinit {
        counts.deallocate()
        integers.deallocate()
        best.deallocate()
        maxima.deallocate()
    }

    /// Computes a prompt of `tokens` tokens and its last token's logits.
    func prompt(_ tokens: Int, sequence: Int = 0) {
        pass(tokens, promptStart: 0, rows: tokens - 1..<tokens) { (sequence, $0) }
    }

    /// Computes one more token of each of `sequences` sequences, behind `context` others, and its logits. The same position
    /// again and again, so that every pass does the same work.
    func decode(_ sequences: Int, context: Int) {
        pass(sequences, promptStart: sequences, rows: 0..<sequences) { ($0, context) }
    }

    private func pass(
        _ count: Int, promptStart: Int, rows wanted: Range<Int>, _ place: (Int) -> (sequence: Int, position: Int)
    ) {
        let room = workspace.tokens
        let (ids, positions, sequences, rows) = (integers, integers + room, integers + 2 * room, integers + 3 * room)
        let vocabulary = model.configuration.vocabularySize
        for token in 0..<count {
            let (sequence, position) = place(token)
            ids[token] = Int32(truncatingIfNeeded: Int(random.next() >> 33) % vocabulary)
            positions[token] = Int32(truncatingIfNeeded: position)
            sequences[token] = Int32(truncatingIfNeeded: sequence)
        }
        for (row, token) in wanted.enumerated() { rows[row] = Int32(truncatingIfNeeded: token) }
        let pass = ForwardPass(
            backend: backend,
            tokens: TokenLayout(
                count: count, ids: ids, positions: positions, sequences: sequences, pageTables: integers + 4 * room,
                tableStride: tableStride, promptStart: promptStart),
            cache: cache, workspace: workspace, counts: counts)
        model.forward(pass)
        model.logits(pass, rows: rows, count: wanted.count)
        backend.statistics(
            workspace.logits, count: wanted.count, best: best, maximum: maxima, logSumExp: nil)
    }

    /// What the last pass cost, if it had `tokens` tokens, `rows` rows of logits, and its attention `pairs` pairs of a token
    /// and a position, whose keys and values are `positions` different ones.
    func cost(tokens: Int, isPrompt: Bool, rows: Int, pairs: Int, positions: Int) -> PassCost {
        let c = model.configuration
        let slots = max(1, c.sparseLayers.count * c.experts)
        let hit = c.sparseLayers.reduce(0) { sum, layer in
            sum + (0..<c.experts).count { counts[layer * c.experts + $0] > 0 }
        }
        let head = c.vocabularySize * c.hiddenSize
        let body = parameters - expertParameters - head * (c.tiesEmbeddings ? 1 : 2)
        let active = Double(body) + Double(expertParameters) * Double(c.topK) / Double(max(1, c.experts))
        let width =
            c.latent.map { isPrompt ? c.headDimension + $0.value : 2 * $0.rank + $0.rotary } ?? 2 * c.headDimension
        return PassCost(
            bytes: Double(matrixBytes - expertBytes) + Double(expertBytes) * Double(hit) / Double(slots)
                + Double(positions * c.layers * cache.shape.bytesPerToken),
            operations: 2
                * (Double(tokens) * active + Double(rows * head) + Double(pairs * c.layers * c.heads * width)))
    }
}
