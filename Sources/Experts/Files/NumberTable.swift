// NumberTable: a table of whole numbers out of a `.pt` or JSON file, as one flat row-major list.

/// Tables of whole numbers, as tensors or as nested lists.
enum NumberTable {
    /// The shape and the numbers of `value`, row-major.
    static func read(_ value: ArchiveValue, _ name: String) throws(RecordingError) -> (shape: [Int], [Int64]) {
        switch value {
        case .int(let number): return ([], [Int64(number)])
        case .float(let number): return ([], [try whole(number, name)])
        case .tensor(let tensor):
            if let numbers = tensor.elements.integers { return (tensor.shape, numbers) }
            var numbers: [Int64] = []
            numbers.reserveCapacity(tensor.elements.count)
            for number in tensor.elements.doubles { numbers.append(try whole(number, name)) }
            return (tensor.shape, numbers)
        case .list(let members), .tuple(let members):
            var shape: [Int]?
            var numbers: [Int64] = []
            for member in members {
                let (inner, values) = try read(member, name)
                guard shape == nil || shape == inner else {
                    throw .malformed(found: "\(name) with rows of differing sizes", expected: "equal rows")
                }
                shape = inner
                numbers += values
            }
            return ([members.count] + (shape ?? []), numbers)
        default: throw .malformed(found: "no \(name)", expected: "a table of whole numbers")
        }
    }

    /// A float that is a whole number.
    private static func whole(_ number: Double, _ name: String) throws(RecordingError) -> Int64 {
        guard let whole = Int64(exactly: number) else {
            throw .malformed(
                found: "\(number) in \(name)",
                expected: "a table of whole numbers"
                    + (name == "logical_count" ? "; real ones serve planning, analysis and advice alone" : ""))
        }
        return whole
    }

    /// As `read`, of 32 bits.
    static func read32(_ value: ArchiveValue, _ name: String) throws(RecordingError) -> (shape: [Int], [Int32]) {
        if case .tensor(let tensor) = value, case .int32(let numbers) = tensor.elements {
            return (tensor.shape, numbers)
        }
        let (shape, numbers) = try read(value, name)
        return (shape, try narrow(numbers, name))
    }

    /// The numbers as int32.
    static func narrow(_ numbers: [Int64], _ name: String) throws(RecordingError) -> [Int32] {
        var narrow: [Int32] = []
        narrow.reserveCapacity(numbers.count)
        for number in numbers {
            guard let value = Int32(exactly: number) else {
                throw .malformed(found: "\(number) in \(name)", expected: "numbers of 32 bits")
            }
            narrow.append(value)
        }
        return narrow
    }
}
