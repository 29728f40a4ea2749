// Placements on disk: `{"physical_to_logical_map": [[…]]}` as JSON or `.pt`, what `--init-expert-location` takes.
//
// The object has that one key and no other: other engines hand further keys on as arguments and refuse them. What is to
// be said about a plan goes beside it: into an archive's entry `switchyard.json`, or into a JSON file of its own.

extension Placement {
    /// The placement that `value` names; see `PlacementSource`.
    ///
    /// - Parameters:
    ///   - value: `trivial`, a path ending in `.pt`, `.json` or `.safetensors`, or an object in JSON.
    ///   - layers: L.
    ///   - logicalExperts: E.
    ///   - slots: P that a map must have; nil takes the map's own.
    ///   - ranks: G.
    ///   - nodes: server nodes, should counts be given and planned for.
    ///   - groups: expert groups, likewise.
    /// - Throws: `ExpertFileError`.
    /// - Returns: a placement with epoch 0.
    public static func read(
        _ value: String, layers: Int, logicalExperts: Int, slots: Int? = nil, ranks: Int = 1, nodes: Int = 1,
        groups: Int = 1
    ) throws(ExpertFileError) -> Placement {
        try PlacementSource.read(value).placement(
            layers: layers, logicalExperts: logicalExperts, slots: slots, ranks: ranks, nodes: nodes, groups: groups)
    }

    /// The dictionary that holds the map.
    public var archive: ArchiveValue {
        .dictionary([
            .init(
                PlacementSource.mapKey,
                .tensor(
                    ArchiveTensor(
                        shape: [layers, physicalExperts], elements: .int64(physicalToLogical.map { Int64($0) }))))
        ])
    }

    /// The map as JSON text with a newline.
    public func json() -> String { Self.text(archive) }

    /// Writes the map and what is to be said about it.
    ///
    /// - Parameters:
    ///   - path: ends in `.json` or `.pt`; what is there is replaced once the new file is complete.
    ///   - about: facts about the plan; nil writes none.
    /// - Returns: the path of the file that holds `about`, if it is one of its own.
    /// - Throws: `ExpertFileError`.
    @discardableResult
    public func write(_ path: String, about: ArchiveValue? = nil) throws(ExpertFileError) -> String? {
        switch Recording.Format(path: path) {
        case .json:
            try Self.write(path) { try JSONText.write(archive, to: $0) }
            guard let about else { return nil }
            let beside = path.dropLast(".json".count) + ".about.json"
            try Self.write(String(beside)) { try JSONText.write(about, to: $0) }
            return String(beside)
        case .pt:
            let note = about.map { [(name: Recording.noteName, bytes: Array(Self.text($0).utf8))] } ?? []
            let root = String(ReplacingFile.name(path).dropLast(".pt".count))
            try Self.write(path) { sink in
                try PyTorchArchive.write(archive, root: root.isEmpty ? "placement" : root, notes: note, to: sink)
            }
            return nil
        case .safetensors, nil:
            throw .file(path: path, reason: "a placement is written as .json or .pt; end the name in one of them")
        }
    }

    private static func text(_ value: ArchiveValue) -> String {
        var bytes: [UInt8] = []
        // Only the sink can throw, and it does not.
        try? JSONText.write(value) { bytes += $0 }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func write(
        _ path: String, _ body: ((UnsafeRawBufferPointer) throws -> Void) throws -> Void
    ) throws(ExpertFileError) {
        do {
            try ReplacingFile.write(path, body)
        } catch {
            throw ExpertFileError(RecordingError(error, path: path), source: path)
        }
    }
}
