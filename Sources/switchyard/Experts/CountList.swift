// CountList: a flag's value of several whole numbers, such as `8,16,32`.

import ArgumentParser

/// Whole numbers with commas between them.
struct CountList: ExpressibleByArgument {
    var values: [Int]

    init(_ values: [Int]) { self.values = values }

    init?(argument: String) {
        let parts = argument.split(separator: ",", omittingEmptySubsequences: false)
            .map { Int($0.drop { $0 == " " }) }
        guard !parts.isEmpty, parts.allSatisfy({ $0 != nil }) else { return nil }
        values = parts.compactMap { $0 }
    }

    var defaultValueDescription: String { values.map(String.init).joined(separator: ",") }

    /// Refuses numbers outside `range`.
    func check(_ flag: String, in range: ClosedRange<Int>) throws {
        guard let wrong = values.first(where: { !range.contains($0) }) else { return }
        throw ValidationError("\(flag) \(wrong): must be from \(range.lowerBound) to \(range.upperBound)")
    }
}
