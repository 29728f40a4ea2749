// What a dictionary of existing tools cannot say is noted beside it: under the key `switchyard` of a JSON file, or in the
// entry `switchyard.json` of a `.pt` archive, which torch passes over.

extension Recording {
    /// The key of our own fields in a JSON file.
    static let ownKey = "switchyard"
    /// The entry of our own fields in a `.pt` archive.
    static let noteName = "switchyard.json"

    /// The fields that the dictionary does not hold already.
    ///
    /// - Parameters:
    ///   - isCompact: leaves out the physical counts of mode `stat`, which are as large as the rest together.
    ///   - order: of the dictionary's rows.
    /// - Returns: a dictionary.
    func ownFields(isCompact: Bool, _ order: RowOrder) -> ArchiveValue {
        var known: Set = ["logical_count", "token.id", "token.position", "token.experts"]
        if mode.isDetailed || isCompact { known.insert("physical_count") }
        var fields = fields
        if order == .stored, window != nil { fields.add("row_order", .string("stored")) }
        let tensors = fields.tensors.filter { !known.contains($0.name) }
            .map { ArchiveValue.Entry($0.name, .tensor($0.tensor)) }
        return .dictionary(fields.scalars + tensors)
    }

    init(pt bytes: UnsafeRawBufferPointer) throws {
        let (value, note) = try PyTorchArchive.read(bytes, note: Self.noteName)
        guard let note else {
            self = try Recording(archive: value)
            return
        }
        guard let own = JSONText.read(note) else {
            throw RecordingError.malformed(found: "a \(Self.noteName) that is no JSON", expected: "our own fields")
        }
        try self.init(archive: value, own: own)
    }

    init(json bytes: UnsafeRawBufferPointer) throws(RecordingError) {
        guard let value = JSONText.read(bytes) else {
            throw .malformed(found: "text that is no JSON", expected: "a JSON object; is the file cut off?")
        }
        if let own = value[Self.ownKey] {
            try self.init(archive: value, own: own)
        } else {
            try self.init(archive: value)
        }
    }

    init(archive value: ArchiveValue, own: ArchiveValue) throws(RecordingError) {
        guard case .dictionary(let entries) = own else {
            throw .malformed(found: "own fields that are no dictionary", expected: "a dictionary")
        }
        var fields = RecordingFields()
        for entry in entries {
            switch entry.value {
            case .tensor(let tensor): fields.tensors.append((entry.key, tensor))
            case .list where entry.key != "requests":
                fields.tensors.append((entry.key, try NumberList(entry.value, entry.key).tensor))
            default: fields.scalars.append(entry)
            }
        }
        // Without rows the dictionary may not show its sizes.
        let rows = value["logical_count"] ?? value["records"]
        if rows == .list([]) || rows == .tensor(ArchiveTensor(shape: [0], elements: .int64([]))) {
            let shape = [0, try fields.int("layers") ?? 0, try fields.int("logical_experts") ?? 0]
            fields.add("logical_count", shape, .int32([]))
        } else {
            var merged = try Recording(archive: value, topK: try fields.int("top_k")).fields
            merged.merge(fields)
            fields = merged
            fields.orderRows()
        }
        try self.init(fields: fields)
    }
}

extension RecordingFields {
    /// Takes the used rows of a round buffer, oldest first, when `logical_count` has all rows as they lay in it.
    fileprivate mutating func orderRows() {
        let used = tensor("pass.id")?.shape.first ?? 0
        guard scalar("row_order") == .string("stored"), let capacity = try? int("window_capacity"),
            let next = try? int("window_next_row"),
            let place = tensors.lastIndex(where: { $0.name == "logical_count" }), tensor("physical_count") == nil,
            case .int32(let counts) = tensors[place].tensor.elements, tensors[place].tensor.shape.count == 3,
            tensors[place].tensor.shape[0] == capacity, used <= capacity, next < capacity
        else { return }
        let shape = tensors[place].tensor.shape
        let size = shape[1] * shape[2]
        var ordered: [Int32] = []
        ordered.reserveCapacity(used * size)
        for row in 0..<used {
            let place = (next - used + row + capacity) % capacity
            ordered += counts[place * size..<(place + 1) * size]
        }
        tensors[place].tensor = ArchiveTensor(shape: [used] + shape.dropFirst(), elements: .int32(ordered))
    }
}

/// A nested list of numbers as a tensor; null among them is NaN.
private struct NumberList {
    let tensor: ArchiveTensor

    init(_ value: ArchiveValue, _ name: String) throws(RecordingError) {
        if case .list(let members) = value,
            members.contains(where: { if case .float = $0 { true } else { $0 == .null } })
        {
            var numbers: [Double] = []
            for member in members {
                switch member {
                case .float(let number): numbers.append(number)
                case .int(let number): numbers.append(Double(number))
                default: numbers.append(.nan)
                }
            }
            tensor = ArchiveTensor(shape: [numbers.count], elements: .float64(numbers))
        } else {
            let (shape, numbers) = try NumberTable.read(value, name)
            tensor = ArchiveTensor(shape: shape, elements: .int64(numbers))
        }
    }
}
