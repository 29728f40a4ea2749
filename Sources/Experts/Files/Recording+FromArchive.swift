// Reads the dictionaries of `.pt` and `.json` files, see Recording+Archive.swift; tensors or nested lists alike.

extension Recording {
    /// The recording in a dictionary; its keys tell the mode.
    ///
    /// - Parameters:
    ///   - archive: what a file holds.
    ///   - topK: K; nil takes as many columns as tokens use.
    /// - Throws: `RecordingError.malformed`.
    init(archive: ArchiveValue, topK: Int? = nil) throws(RecordingError) {
        if let counts = archive["logical_count"] {
            try self.init(stat: counts, in: archive)
        } else if case .list(let records)? = archive["records"] {
            try self.init(records: records, map: archive["last_physical_to_logical_map"], topK: topK)
        } else if archive["physical_to_logical_map"] != nil {
            throw .malformed(found: "a placement", expected: "counts of experts, as a dump has them")
        } else {
            throw .malformed(found: archive.keys, expected: "the key logical_count, or records")
        }
    }

    /// Whether tables of this size may be made for a file that says so, even if it has no rows.
    static func isPlausible(layers: Int, width: Int) -> Bool {
        (1...1 << 16).contains(layers) && (1...Int(Int16.max)).contains(width) && layers * width <= 1 << 22
    }

    /// Whether so many experts per token may be.
    static func isPlausible(topK: Int) -> Bool { (1...Int(Int16.max)).contains(topK) }

    private init(stat value: ArchiveValue, in archive: ArchiveValue) throws(RecordingError) {
        var (shape, rows) = try NumberTable.read32(value, "logical_count")
        if shape.count == 2 { shape.insert(1, at: 0) }
        guard shape.count == 3, Self.isPlausible(layers: shape[1], width: shape[2]) else {
            throw .malformed(found: "logical_count of shape \(shape)", expected: "[passes, layers, experts]")
        }
        mode = .stat
        layers = shape[1]
        logicalExperts = shape[2]
        counts = .logical(rows)
        totals = []
        try checkCounts()
        totals = Self.sums(rows, size: layers * logicalExperts)
        switch archive["average_utilization_rate_over_window"] {
        case .float(let rate) where rate.isFinite: averageUtilization = rate
        case .int(let rate): averageUtilization = Double(rate)
        default: break
        }
        if case .int(let rank)? = archive["rank"], rank >= 0 { self.rank = rank }
    }

    private init(records: [ArchiveValue], map: ArchiveValue?, topK: Int?) throws(RecordingError) {
        let (shape, elements) = try NumberTable.read(map ?? .null, "last_physical_to_logical_map")
        guard shape.count == 2, Self.isPlausible(layers: shape[0], width: shape[1]) else {
            throw .malformed(found: "last_physical_to_logical_map of shape \(shape)", expected: "[layers, slots]")
        }
        let slots = try NumberTable.narrow(elements, "last_physical_to_logical_map")
        let experts = 1 + Int(slots.max() ?? 0)
        guard experts <= shape[1], shape[1] <= Int(Int16.max) else {
            throw .malformed(found: "expert \(experts - 1) in \(shape[1]) slots", expected: "a slot for every expert")
        }
        let placement: Placement
        do {
            placement = try Placement(physicalToLogical: slots, layers: shape[0], logicalExperts: experts)
        } catch {
            throw .malformed(found: "a last_physical_to_logical_map in which \(error)", expected: "a placement")
        }
        mode = .perPass
        totals = []
        layers = shape[0]
        logicalExperts = experts
        placements = records.isEmpty ? [] : [placement]
        var physical: [Int32] = []
        var details: [PassTokens] = []
        var used = 0
        for record in records {
            guard case .int(let id)? = record["forward_pass_id"] else {
                throw .malformed(found: "a record with \(record.keys)", expected: "a forward_pass_id")
            }
            if case .int(let rank)? = record["rank"], rank >= 0 { self.rank = rank }
            let (size, numbers) = try NumberTable.read32(
                record["global_physical_count"] ?? .null, "global_physical_count")
            guard size == shape else {
                throw .malformed(found: "global_physical_count of shape \(size)", expected: "\(shape)")
            }
            physical += numbers
            var mode: ForwardMode?
            if case .int(let number)? = record["forward_mode"] { mode = ForwardMode(rawValue: number) }
            var pass = Pass(id: id, mode: mode, placement: 0)
            if let ids = record["topk_ids_of_layer"] {
                let (detail, columns) = try Self.tokens(ids, in: record, layers: layers)
                pass.tokens = detail.ids.count
                details.append(detail)
                used = max(used, columns)
            }
            passes.append(pass)
        }
        counts = records.isEmpty ? .logical([]) : .physical(physical)
        try checkCounts()
        totals = Self.sums(logicalCounts(), size: layers * logicalExperts)
        guard !details.isEmpty else { return }
        guard details.count == records.count else {
            throw .malformed(found: "records with and without topk_ids_of_layer", expected: "all of one kind")
        }
        self.mode = .perToken
        let width = max(1, used, min(topK ?? 0, 64))
        guard Self.isPlausible(topK: width) else {
            throw .malformed(found: "\(width) experts per token", expected: "1 to \(Int16.max)")
        }
        self.topK = width
        tokens = details
        narrowExperts(to: width)
    }

    /// A record's tokens with all columns, and how many columns are used.
    private static func tokens(
        _ ids: ArchiveValue, in record: ArchiveValue, layers: Int
    ) throws(RecordingError) -> (PassTokens, columns: Int) {
        func list(_ key: String) throws(RecordingError) -> [Int32]? {
            guard let value = record[key], value != .null else { return nil }
            let (shape, numbers) = try NumberTable.read(value, key)
            guard shape.count == 1 else { throw .malformed(found: "\(key) of shape \(shape)", expected: "a list") }
            return try NumberTable.narrow(numbers, key)
        }
        let tokenIDs = try list("input_ids") ?? []
        let positions = try list("positions") ?? []
        let lengths = try list("extend_seq_lens") ?? [Int32](repeating: 1, count: tokenIDs.count)
        let (shape, numbers) = try NumberTable.read32(ids, "topk_ids_of_layer")
        let count = tokenIDs.count
        // Nested lists of no tokens do not show their innermost size.
        let fits = shape.count == 3 && shape[0] == layers && shape[1] == count || count == 0 && numbers.isEmpty
        guard fits, positions.count == count,
            lengths.allSatisfy({ $0 >= 0 }), lengths.reduce(0, { $0 + Int($1) }) == count
        else {
            throw .malformed(
                found: "topk_ids_of_layer of shape \(shape), \(positions.count) positions, lengths \(lengths)",
                expected: "[\(layers), \(count), K] and \(count) tokens in all")
        }
        let width = shape.count == 3 ? shape[2] : 0
        var columns = 0
        var experts = [Int16](repeating: -1, count: numbers.count)
        var index = 0
        for layer in 0..<layers {
            for token in 0..<count {
                for column in 0..<width {
                    let number = numbers[index]
                    index += 1
                    guard number != -1 else { continue }
                    guard let narrow = Int16(exactly: number) else {
                        throw .malformed(found: "expert \(number)", expected: "at most \(Int16.max)")
                    }
                    experts[(token * layers + layer) * width + column] = narrow
                    columns = max(columns, column + 1)
                }
            }
        }
        let runs = lengths.map { Run(request: nil, tokens: Int($0)) }
        return (PassTokens(ids: tokenIDs, positions: positions, runs: runs, experts: experts), columns)
    }

    /// Drops the columns that no token uses.
    private mutating func narrowExperts(to width: Int) {
        for index in tokens.indices where !tokens[index].ids.isEmpty {
            let experts = tokens[index].experts
            let present = experts.count / (tokens[index].ids.count * layers)
            guard present != width else { continue }
            var narrow = [Int16](repeating: -1, count: tokens[index].ids.count * layers * width)
            for place in narrow.indices where place % width < present {
                narrow[place] = experts[place / width * present + place % width]
            }
            tokens[index].experts = narrow
        }
    }
}

extension ArchiveValue {
    /// What it has, for messages.
    fileprivate var keys: String {
        guard case .dictionary(let entries) = self else { return "no dictionary" }
        return entries.isEmpty ? "no keys" : "the keys " + entries.prefix(8).map(\.key).joined(separator: ", ")
    }
}
