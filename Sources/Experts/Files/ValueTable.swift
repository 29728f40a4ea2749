// ValueTable: a table of numbers out of a `.pt` or JSON file, whole or not, as one flat row-major list.

/// A rectangular table of numbers.
struct ValueTable: Equatable {
    /// Sizes, outermost first.
    var shape: [Int]
    /// The numbers, row-major; null is NaN.
    var numbers: [Double]

    /// Why nested lists are no table.
    enum Failure: Error, Equatable {
        /// A member that is no number.
        case notNumbers
        /// A list that differs in size from the first one of its level.
        case ragged(place: [Int], size: [Int], expected: [Int])
    }

    /// The table in `value`: a tensor or nested lists.
    init(_ value: ArchiveValue) throws(Failure) {
        shape = []
        numbers = []
        let size = try append(value, place: [])
        shape = size
    }

    /// Appends the numbers of `value` and returns its sizes.
    private mutating func append(_ value: ArchiveValue, place: [Int]) throws(Failure) -> [Int] {
        switch value {
        case .int(let number):
            numbers.append(Double(number))
            return []
        case .float(let number):
            numbers.append(number)
            return []
        case .null:
            numbers.append(.nan)
            return []
        case .tensor(let tensor):
            numbers += tensor.elements.doubles
            return tensor.shape
        case .list(let members), .tuple(let members):
            // More levels than any table here has; a hostile file shall not exhaust the stack.
            guard place.count < 4 else { throw .notNumbers }
            var first: [Int]?
            for (index, member) in members.enumerated() {
                let size = try append(member, place: place + [index])
                if let first, first != size { throw .ragged(place: place + [index], size: size, expected: first) }
                first = size
            }
            return [members.count] + (first ?? [])
        default: throw .notNumbers
        }
    }
}
