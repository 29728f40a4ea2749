// RecordingFields: a recording as named scalars and tensors, which both `.safetensors` and `.json` files hold.

/// Named scalars and tensors, in writing order.
struct RecordingFields {
    /// Numbers as `.int` or, in a file of strings, as their digits.
    var scalars: [ArchiveValue.Entry] = []
    var tensors: [(name: String, tensor: ArchiveTensor)] = []

    mutating func add(_ name: String, _ value: ArchiveValue?) {
        if let value { scalars.append(.init(name, value)) }
    }

    mutating func add(_ name: String, _ shape: [Int], _ elements: ArchiveTensor.Elements) {
        tensors.append((name, ArchiveTensor(shape: shape, elements: elements)))
    }

    /// Takes over the fields of `other`, which win.
    mutating func merge(_ other: RecordingFields) {
        let names = Set(other.scalars.map(\.key) + other.tensors.map(\.name))
        scalars = scalars.filter { !names.contains($0.key) } + other.scalars
        tensors = tensors.filter { !names.contains($0.name) } + other.tensors
    }

    // MARK: Reading

    func scalar(_ name: String) -> ArchiveValue? {
        guard let value = scalars.last(where: { $0.key == name })?.value, value != .null else { return nil }
        return value
    }

    func string(_ name: String) throws(RecordingError) -> String? {
        switch scalar(name) {
        case nil: return nil
        case .string(let value): return value
        default: throw .malformed(found: "a \(name) that is no text", expected: "a text")
        }
    }

    /// A number that is not negative.
    func int(_ name: String) throws(RecordingError) -> Int? {
        switch scalar(name) {
        case nil: return nil
        case .int(let value) where value >= 0: return value
        case .string(let text):
            guard let value = Int(text), value >= 0 else { fallthrough }
            return value
        default: throw .malformed(found: "a \(name) that is no count", expected: "a whole number from 0")
        }
    }

    func required<Value>(_ name: String, _ value: Value?) throws(RecordingError) -> Value {
        guard let value else { throw .malformed(found: "no \(name)", expected: "all fields of the format") }
        return value
    }

    func tensor(_ name: String) -> ArchiveTensor? { tensors.last { $0.name == name }?.tensor }

    /// A tensor of whole numbers that fit 32 bits; nil if it is missing.
    ///
    /// - Parameters:
    ///   - name: of the tensor.
    ///   - shape: it must have; nil for any size.
    /// - Returns: the elements, row-major.
    /// - Throws: `RecordingError.malformed`.
    func int32(_ name: String, _ shape: [Int?]) throws(RecordingError) -> [Int32]? {
        guard let tensor = tensor(name) else { return nil }
        try check(name, tensor, shape)
        if case .int32(let elements) = tensor.elements { return elements }
        return try NumberTable.narrow(try integers(name, tensor), name)
    }

    /// As `int32`, of numbers that fit 16 bits.
    func int16(_ name: String, _ shape: [Int?]) throws(RecordingError) -> [Int16]? {
        if let tensor = tensor(name), case .int16(let elements) = tensor.elements {
            try check(name, tensor, shape)
            return elements
        }
        guard let wide = try int32(name, shape) else { return nil }
        var narrow: [Int16] = []
        narrow.reserveCapacity(wide.count)
        for number in wide {
            guard let number = Int16(exactly: number) else {
                throw .malformed(found: "\(number) in \(name)", expected: "numbers of 16 bits")
            }
            narrow.append(number)
        }
        return narrow
    }

    /// As `int32`, with more bits.
    func int64(_ name: String, _ shape: [Int?]) throws(RecordingError) -> [Int64]? {
        guard let tensor = tensor(name) else { return nil }
        try check(name, tensor, shape)
        return try integers(name, tensor)
    }

    /// As `int32`, of floats or whole numbers.
    func doubles(_ name: String, _ shape: [Int?]) throws(RecordingError) -> [Double]? {
        guard let tensor = tensor(name) else { return nil }
        try check(name, tensor, shape)
        return tensor.elements.doubles
    }

    private func check(_ name: String, _ tensor: ArchiveTensor, _ shape: [Int?]) throws(RecordingError) {
        let fits = tensor.shape.count == shape.count && zip(tensor.shape, shape).allSatisfy { $1 == nil || $0 == $1 }
        guard fits else {
            let wanted = shape.map { $0.map(String.init) ?? "any" }.joined(separator: ", ")
            throw .malformed(found: "\(name) of shape \(tensor.shape)", expected: "[\(wanted)]")
        }
    }

    private func integers(_ name: String, _ tensor: ArchiveTensor) throws(RecordingError) -> [Int64] {
        guard let numbers = tensor.elements.integers else {
            throw .malformed(found: "\(name) of floats", expected: "whole numbers")
        }
        return numbers
    }
}
