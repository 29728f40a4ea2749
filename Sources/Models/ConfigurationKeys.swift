// ConfigurationKeys: numbers of a config.json within their ranges, and complaints that name the key.

internal import Compute

/// Takes numbers out of a config.json.
struct ConfigurationKeys {
    /// The file, for messages.
    let file: String

    /// The value of `key`, which must be there and in `range`.
    func whole(_ value: Double?, _ key: String, _ range: ClosedRange<Int> = 1...1 << 24) throws(ModelFileError) -> Int {
        guard let value, let whole = Int(exactly: value), range.contains(whole) else {
            throw refused(
                key, value.map { "\(Int(exactly: $0)?.description ?? "\($0)")" } ?? "nothing",
                "a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return whole
    }

    /// The value of `key` in `range`, which the complaint calls `words`.
    func number(
        _ value: Double, _ key: String, _ range: ClosedRange<Double>, _ words: String
    ) throws(ModelFileError) -> Float {
        guard range.contains(value) else { throw refused(key, "\(value)", "a number \(words)") }
        return Float(value)
    }

    /// A complaint about `key`.
    func refused(_ key: String, _ found: String, _ expected: String) -> ModelFileError {
        ModelFileError(file: file, item: key, found: found, expected: expected)
    }
}
