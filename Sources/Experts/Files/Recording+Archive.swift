// The dictionaries that existing tools read from `.pt` files, and what can be told from them.
//
// stat, stat_approx:  {rank: 0, logical_count: int32 [W, L, E], average_utilization_rate_over_window: float or None}
// per_pass:           {records: [{forward_pass_id, rank, gatherer_key: "primary", global_physical_count: int32 [L, P]}],
//                      last_physical_to_logical_map: int64 [L, P]}
// per_token:          records with, after gatherer_key, input_ids and positions (lists of N), extend_seq_lens (a list,
//                     None in decode), forward_mode, topk_ids_of_layer int32 [L, N, max(8, K)] filled up with -1,
//                     misc_objects [], and then the counts.
// Of a window, stat has all rows as they lay in the round buffer, unused ones zero. What the dictionaries cannot say
// goes beside them: into the archive's entry switchyard.json, or under a JSON file's key switchyard.

extension Recording {
    /// How a window's rows are written.
    public enum RowOrder: Sendable, Equatable {
        /// As they lay in the round buffer, unused rows zero: what readers of other engines' files know.
        case stored
        /// Only the used rows, oldest first.
        case time
    }

    /// The dictionary for a `.pt` file.
    public func archive(_ order: RowOrder = .stored) -> ArchiveValue {
        guard mode.isDetailed else {
            let counts = order == .stored ? storedCounts() : logicalCounts()
            let shape = [counts.count / (layers * logicalExperts), layers, logicalExperts]
            return .dictionary([
                .init("rank", .int(rank)),
                .init("logical_count", .tensor(ArchiveTensor(shape: shape, elements: .int32(counts)))),
                .init("average_utilization_rate_over_window", averageUtilization.map(ArchiveValue.float) ?? .null),
            ])
        }
        return .dictionary([
            .init("records", .list((0..<rows).map(record))),
            .init(
                "last_physical_to_logical_map",
                placements.last.map {
                    .tensor(
                        ArchiveTensor(
                            shape: [layers, $0.physicalExperts],
                            elements: .int64($0.physicalToLogical.map { Int64($0) })))
                } ?? .null),
        ])
    }

    /// Logical counts as they lay in the round buffer.
    private func storedCounts() -> [Int32] {
        let (counts, size, used) = (logicalCounts(), layers * logicalExperts, rows)
        guard let window, used <= window.capacity, window.capacity <= Int(Int32.max) / size else { return counts }
        var stored = [Int32](repeating: 0, count: window.capacity * size)
        for row in 0..<used {
            let place = (window.nextRow - used + row + window.capacity) % window.capacity
            stored.replaceSubrange(place * size..<(place + 1) * size, with: counts[row * size..<(row + 1) * size])
        }
        return stored
    }

    private func record(_ row: Int) -> ArchiveValue {
        var entries: [ArchiveValue.Entry] = [
            .init("forward_pass_id", .int(row < passes.count ? passes[row].id : row)), .init("rank", .int(rank)),
            .init("gatherer_key", .string("primary")),
        ]
        if row < tokens.count {
            let (pass, mode) = (tokens[row], row < passes.count ? passes[row].mode : nil)
            let lengths = ArchiveValue.list(pass.runs.map { .int($0.tokens) })
            entries += [
                .init("input_ids", .list(pass.ids.map { .int(Int($0)) })),
                .init("positions", .list(pass.positions.map { .int(Int($0)) })),
                .init("extend_seq_lens", mode == .decode ? .null : lengths),
                .init("forward_mode", .int((mode ?? .mixed).rawValue)), .init("topk_ids_of_layer", .tensor(wide(pass))),
                .init("misc_objects", .list([])),
            ]
        }
        if case .physical(let counts) = counts, let slots = physicalExperts {
            let size = layers * slots
            let row = ArchiveTensor(
                shape: [layers, slots], elements: .int32(Array(counts[row * size..<(row + 1) * size])))
            entries.append(.init("global_physical_count", .tensor(row)))
        }
        return .dictionary(entries)
    }

    /// `[L, N, max(8, K)]`; made when it is written, since all passes together would take several times the recording.
    private func wide(_ pass: PassTokens) -> ArchiveTensor {
        let (layers, count, topK) = (layers, pass.ids.count, topK ?? 0)
        let width = max(8, topK)
        let elements = ArchiveTensor.Elements.made(count: layers * count * width) {
            var ids = [Int32](repeating: -1, count: layers * count * width)
            for token in 0..<count {
                for layer in 0..<layers {
                    for column in 0..<topK {
                        ids[(layer * count + token) * width + column] =
                            Int32(pass.experts[(token * layers + layer) * topK + column])
                    }
                }
            }
            return ids
        }
        return ArchiveTensor(shape: [layers, count, width], elements: elements)
    }
}
