// The fields of a recording in our own format, version 1. docs/ExpertRecordings.md describes them for readers.
//
// In tensors -1 stands for an unknown number, 0 for an unknown mode and NaN for an unknown rate.

extension Recording {
    static let formatName = "switchyard-expert-recording"
    static let formatVersion = 1

    /// All that is known, by the names of the format.
    var fields: RecordingFields {
        var fields = RecordingFields()
        fields.add("format", .string(Self.formatName))
        fields.add("version", .int(Self.formatVersion))
        fields.add("mode", .string(mode.rawValue))
        fields.add("model", model.map(ArchiveValue.string))
        fields.add("layers", .int(layers))
        fields.add("logical_experts", .int(logicalExperts))
        fields.add("physical_experts", physicalExperts.map(ArchiveValue.int))
        fields.add("top_k", topK.map(ArchiveValue.int))
        fields.add("rank", .int(rank))
        fields.add("multiplicity", .int(multiplicity))
        fields.add("window_capacity", (window?.capacity).map(ArchiveValue.int))
        fields.add("window_next_row", (window?.nextRow).map(ArchiveValue.int))
        fields.add("recorded_passes", (recorded?.passes).map(ArchiveValue.int))
        fields.add("recorded_tokens", (recorded?.tokens).map(ArchiveValue.int))
        fields.add("dropped_passes", .int(dropped.passes))
        fields.add("dropped_tokens", .int(dropped.tokens))
        fields.add("average_utilization", averageUtilization.map(ArchiveValue.float))
        if !requests.isEmpty { fields.add("requests", .list(requests.map(ArchiveValue.string))) }

        switch counts {
        case .physical(let counts):
            fields.add("physical_count", [rows, layers, physicalExperts ?? 0], .int32(counts))
        case .logical(let counts): fields.add("logical_count", [rows, layers, logicalExperts], .int32(counts))
        }
        fields.add("total_count", [layers, logicalExperts], .int64(totals))
        if let slots = physicalExperts {
            let versions = placements.count
            fields.add(
                "placement.physical_to_logical", [versions, layers, slots],
                .int32(placements.flatMap(\.physicalToLogical)))
            fields.add("placement.epoch", [versions], .int64(placements.map { Int64($0.epoch) }))
            fields.add("placement.ranks", [versions], .int64(placements.map { Int64($0.ranks) }))
        }
        if !passes.isEmpty { addPasses(to: &fields) }
        if !tokens.isEmpty { addTokens(to: &fields) }
        return fields
    }

    private func addPasses(to fields: inout RecordingFields) {
        let shape = [passes.count]
        fields.add("pass.id", shape, .int64(passes.map { Int64($0.id) }))
        fields.add("pass.mode", shape, .int32(passes.map { Int32($0.mode?.rawValue ?? 0) }))
        fields.add("pass.tokens", shape, .int64(passes.map { Int64($0.tokens ?? -1) }))
        fields.add("pass.placement", shape, .int32(passes.map { Int32($0.placement ?? -1) }))
        fields.add("pass.balancedness", shape, .float32(passes.map { $0.balancedness ?? .nan }))
    }

    private func addTokens(to fields: inout RecordingFields) {
        let runs = tokens.flatMap(\.runs)
        let count = tokens.reduce(0) { $0 + $1.ids.count }
        fields.add("pass.rows", [tokens.count], .int64(tokens.map { Int64($0.ids.count) }))
        fields.add("pass.runs", [tokens.count], .int64(tokens.map { Int64($0.runs.count) }))
        fields.add("run.request", [runs.count], .int32(runs.map { Int32($0.request ?? -1) }))
        fields.add("run.tokens", [runs.count], .int32(runs.map { Int32($0.tokens) }))
        fields.add("token.id", [count], .int32(tokens.flatMap(\.ids)))
        fields.add("token.position", [count], .int32(tokens.flatMap(\.positions)))
        fields.add("token.experts", [count, layers, topK ?? 0], .int16(tokens.flatMap(\.experts)))
    }

    /// The recording that `fields` describe.
    ///
    /// - Throws: `RecordingError.malformed` naming the field that is missing or does not fit the others.
    init(fields: RecordingFields) throws(RecordingError) {
        guard try fields.string("format") == Self.formatName, let version = try fields.int("version") else {
            throw .malformed(found: "no format \(Self.formatName)", expected: "a file of recorded experts")
        }
        guard version <= Self.formatVersion else {
            throw .malformed(found: "version \(version)", expected: "\(Self.formatVersion); use a newer switchyard")
        }
        let name = try fields.required("mode", try fields.string("mode"))
        guard let mode = RecorderMode(rawValue: name) else {
            throw .malformed(found: "mode \(name)", expected: "stat, stat_approx, per_pass or per_token")
        }
        self.mode = mode
        layers = try fields.required("layers", try fields.int("layers"))
        logicalExperts = try fields.required("logical_experts", try fields.int("logical_experts"))
        guard Self.isPlausible(layers: layers, width: logicalExperts) else {
            throw .malformed(found: "\(layers) layers of \(logicalExperts) experts", expected: "a model's size")
        }
        model = try fields.string("model")
        topK = try fields.int("top_k")
        guard topK.map(Self.isPlausible(topK:)) ?? true else {
            throw .malformed(found: "top_k \(topK ?? 0)", expected: "1 to \(Int16.max)")
        }
        rank = try fields.int("rank") ?? 0
        multiplicity = try fields.int("multiplicity") ?? 1
        if let capacity = try fields.int("window_capacity"), let next = try fields.int("window_next_row") {
            guard next < capacity, capacity <= (1 << 28) / (layers * logicalExperts) else {
                throw .malformed(found: "row \(next) of a window of \(capacity)", expected: "a window that fits memory")
            }
            window = Window(capacity: capacity, nextRow: next)
        }
        if let passes = try fields.int("recorded_passes"), let tokens = try fields.int("recorded_tokens") {
            recorded = PassTally(passes: passes, tokens: tokens)
        }
        dropped = PassTally(
            passes: try fields.int("dropped_passes") ?? 0, tokens: try fields.int("dropped_tokens") ?? 0)
        switch fields.scalar("average_utilization") {
        case .float(let rate): averageUtilization = rate
        case .int(let rate): averageUtilization = Double(rate)
        case .string(let text): averageUtilization = Double(text)
        default: break
        }
        if averageUtilization?.isFinite == false { averageUtilization = nil }
        if case .list(let names)? = fields.scalar("requests") {
            for case .string(let name) in names { requests.append(name) }
        }
        placements = try Self.placements(fields, layers: layers, logicalExperts: logicalExperts)
        if let slots = placements.first?.physicalExperts,
            let physical = try fields.int32("physical_count", [nil, layers, slots])
        {
            counts = .physical(physical)
        } else {
            counts = .logical(
                try fields.required(
                    "logical_count", try fields.int32("logical_count", [nil, layers, logicalExperts])))
        }
        totals = []
        passes = try Self.passes(fields, rows: rows, placements: placements.count)
        if case .physical = counts {
            guard passes.count == rows, passes.allSatisfy({ $0.placement != nil }) else {
                throw .malformed(found: "physical counts", expected: "every pass's placement beside them")
            }
        }
        try checkCounts()
        totals =
            try fields.int64("total_count", [layers, logicalExperts])
            ?? Self.sums(logicalCounts(), size: layers * logicalExperts)
        // So many pairs of one expert that a layer's sum stays far from the end of 64 bits.
        guard totals.allSatisfy({ (0...1 << 46).contains($0) }) else {
            throw .malformed(found: "an impossible total_count", expected: "counts from 0")
        }
        tokens = try readTokens(fields)
    }

    /// Refuses counts below zero, and so many in one layer of a pass that those of an expert's slots leave 32 bits.
    func checkCounts() throws(RecordingError) {
        switch counts {
        case .physical(let counts), .logical(let counts):
            guard counts.allSatisfy({ $0 >= 0 }) else {
                throw .malformed(found: "a count below zero", expected: "counts from 0")
            }
        }
        guard case .physical(let counts) = counts, let slots = physicalExperts else { return }
        for first in stride(from: 0, to: counts.count, by: slots) {
            let sum = counts[first..<first + slots].reduce(0 as Int64) { $0 + Int64($1) }
            guard sum <= Int64(Int32.max) else {
                throw .malformed(found: "\(sum) pairs in one layer of a pass", expected: "at most \(Int32.max)")
            }
        }
    }

    private static func placements(
        _ fields: RecordingFields, layers: Int, logicalExperts: Int
    ) throws(RecordingError) -> [Placement] {
        let name = "placement.physical_to_logical"
        guard let map = try fields.int32(name, [nil, layers, nil]), let shape = fields.tensor(name)?.shape,
            shape[0] > 0
        else { return [] }
        let epochs = try fields.required("placement.epoch", try fields.int64("placement.epoch", [shape[0]]))
        let ranks = try fields.required("placement.ranks", try fields.int64("placement.ranks", [shape[0]]))
        var placements: [Placement] = []
        let size = map.count / shape[0]
        for index in 0..<shape[0] {
            // So far from the end of 64 bits that any number of rebalances can follow.
            guard (0...1 << 53).contains(epochs[index]) else {
                throw .malformed(found: "epoch \(epochs[index])", expected: "a number from 0 to \(1 << 53)")
            }
            do {
                placements.append(
                    try Placement(
                        physicalToLogical: Array(map[index * size..<(index + 1) * size]), layers: layers,
                        logicalExperts: logicalExperts, ranks: Int(ranks[index]), epoch: Int(epochs[index])))
            } catch {
                throw .malformed(found: "a placement in which \(error)", expected: "a placement")
            }
        }
        return placements
    }

    private static func passes(
        _ fields: RecordingFields, rows: Int, placements: Int
    ) throws(RecordingError) -> [Pass] {
        guard let ids = try fields.int64("pass.id", [rows]) else { return [] }
        let modes = try fields.int32("pass.mode", [rows])
        let tokens = try fields.int64("pass.tokens", [rows])
        let places = try fields.int32("pass.placement", [rows])
        let rates = try fields.doubles("pass.balancedness", [rows])
        var passes: [Pass] = []
        passes.reserveCapacity(rows)
        for row in 0..<rows {
            var pass = Pass(id: Int(ids[row]))
            pass.mode = modes.flatMap { ForwardMode(rawValue: Int($0[row])) }
            if let tokens, tokens[row] >= 0 { pass.tokens = Int(tokens[row]) }
            if let places, places[row] >= 0 {
                guard places[row] < placements else {
                    throw .malformed(found: "placement \(places[row]) of \(placements)", expected: "one of them")
                }
                pass.placement = Int(places[row])
            }
            if let rates, Float(rates[row]).isFinite { pass.balancedness = Float(rates[row]) }
            passes.append(pass)
        }
        return passes
    }

    private func readTokens(_ fields: RecordingFields) throws(RecordingError) -> [PassTokens] {
        guard mode == .perToken, rows > 0 else { return [] }
        let topK = try fields.required("top_k", topK)
        let sizes = try fields.required("pass.rows", try fields.int64("pass.rows", [rows]))
        let runCounts = try fields.required("pass.runs", try fields.int64("pass.runs", [rows]))
        let owners = try fields.required("run.request", try fields.int32("run.request", [nil]))
        let lengths = try fields.required("run.tokens", try fields.int32("run.tokens", [owners.count]))
        let ids = try fields.required("token.id", try fields.int32("token.id", [nil]))
        let positions = try fields.required("token.position", try fields.int32("token.position", [ids.count]))
        let shape = [ids.count, layers, topK]
        let experts = try fields.required("token.experts", try fields.int16("token.experts", shape))
        var result: [PassTokens] = []
        var (token, run) = (0, 0)
        for (size, count) in zip(sizes, runCounts) {
            guard size >= 0, count >= 0, size <= ids.count - token, count <= owners.count - run else {
                throw .malformed(
                    found: "a pass of \(size) tokens in \(count) runs", expected: "as many as the file has")
            }
            let runs = (run..<run + Int(count)).map { index in
                let owner = Int(owners[index])
                return Run(request: requests.indices.contains(owner) ? owner : nil, tokens: Int(lengths[index]))
            }
            guard runs.allSatisfy({ $0.tokens >= 0 }), runs.reduce(0, { $0 + $1.tokens }) == size else {
                throw .malformed(found: "runs that do not make their pass's \(size) tokens", expected: "whole passes")
            }
            let range = token..<token + Int(size)
            let width = layers * topK
            result.append(
                PassTokens(
                    ids: Array(ids[range]), positions: Array(positions[range]), runs: runs,
                    experts: Array(experts[range.lowerBound * width..<range.upperBound * width])))
            token = range.upperBound
            run += Int(count)
        }
        guard token == ids.count, run == owners.count else {
            throw .malformed(found: "tokens that belong to no pass", expected: "whole passes")
        }
        return result
    }
}
