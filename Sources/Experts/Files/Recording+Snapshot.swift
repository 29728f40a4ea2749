// From a recorder's snapshot to the value that files hold. Copies every kept pass: call it off the engine's thread.

extension Recording {
    /// What `snapshot` holds.
    ///
    /// - Parameters:
    ///   - snapshot: of a recorder.
    ///   - model: the model's name, for the files that can say it.
    ///   - averageUtilization: mean balancedness over the window; nil unless it is reported.
    public init(_ snapshot: Snapshot, model: String? = nil, averageUtilization: Double? = nil) {
        mode = snapshot.settings.mode
        self.model = model
        layers = snapshot.layers
        logicalExperts = snapshot.logicalExperts
        topK = snapshot.topK
        window = snapshot.settings.window.map { Window(capacity: $0, nextRow: snapshot.nextRow) }
        totals = snapshot.totals
        recorded = snapshot.recorded
        dropped = snapshot.dropped
        self.averageUtilization = averageUtilization

        let kept = snapshot.kept
        var physical: [Int32] = []
        physical.reserveCapacity(kept * snapshot.layers * snapshot.physicalExperts)
        var builder = TokenBuilder(layers: snapshot.layers, topK: snapshot.topK)
        var placements: [Placement] = []
        var passes: [Pass] = []
        passes.reserveCapacity(kept)
        snapshot.forEachPass { chunk, record in
            let placement = chunk.placements[record.placement]
            // Few, and mostly the last one.
            let index = placements.lastIndex(of: placement) ?? placements.count
            if index == placements.count { placements.append(placement) }
            passes.append(
                Pass(
                    id: record.id, mode: record.mode, tokens: record.tokens, placement: index,
                    balancedness: record.balancedness))
            physical += chunk.counts(record)
            if snapshot.settings.mode == .perToken { builder.append(chunk, record) }
        }
        self.placements = placements
        self.passes = passes
        // Without a pass no placement is known, and nothing is lost by saying so.
        counts = kept == 0 ? .logical([]) : .physical(physical)
        requests = builder.requests
        tokens = builder.passes
    }
}

/// Unpacks recorded tokens and gives the requests of all chunks common numbers.
private struct TokenBuilder {
    let layers: Int
    let topK: Int
    var requests: [String] = []
    var passes: [Recording.PassTokens] = []
    private var numbers: [String: Int] = [:]

    init(layers: Int, topK: Int) {
        self.layers = layers
        self.topK = topK
    }

    mutating func append(_ chunk: PassChunk, _ record: PassRecord) {
        let packed = chunk.runs(record)
        var runs: [Recording.Run] = []
        var positions: [Int32] = []
        positions.reserveCapacity(record.rows)
        for run in 0..<record.runs {
            let (start, count) = (packed[3 * run + 1], packed[3 * run + 2])
            runs.append(.init(request: number(of: chunk.requests[Int(packed[3 * run])]), tokens: Int(count)))
            positions += start..<start + count
        }
        let rows = record.rows
        let layered = chunk.experts(record, count: layers * rows * topK)
        var experts = [Int16](repeating: -1, count: layered.count)
        for layer in 0..<layers {
            for row in 0..<rows {
                for column in 0..<topK {
                    experts[(row * layers + layer) * topK + column] = layered[(layer * rows + row) * topK + column]
                }
            }
        }
        passes.append(.init(ids: Array(chunk.tokenIDs(record)), positions: positions, runs: runs, experts: experts))
    }

    private mutating func number(of request: String) -> Int {
        if let number = numbers[request] { return number }
        numbers[request] = requests.count
        requests.append(request)
        return requests.count - 1
    }
}
