// ConfigurationKeys: takes values out of a config.json. What is wrong is noted by its key, and reading goes on with a value
// that is in range, so that one run finds everything.

internal import Compute

/// The keys of a config.json, or of an object in it.
struct ConfigurationKeys {
    /// What is wrong, in the order of reading.
    final class Notes {
        fileprivate(set) var problems: [ModelFileError] = []
        /// Whether the shapes of all weights are known.
        fileprivate(set) var knowsSizes = true
        /// The keys that were complained of.
        fileprivate var keys: Set<String> = []
    }

    /// The file, for messages.
    let file: String
    let notes: Notes
    private let values: [String: ConfigurationValue]
    /// What stands before a key in messages.
    private let prefix: String
    private let areSizes: Bool

    /// The keys `values` of `file`.
    init(_ values: [String: ConfigurationValue], file: String) {
        self.init(values, file: file, notes: Notes(), prefix: "", areSizes: false)
    }

    private init(
        _ values: [String: ConfigurationValue], file: String, notes: Notes, prefix: String, areSizes: Bool
    ) {
        (self.file, self.notes, self.values) = (file, notes, values)
        (self.prefix, self.areSizes) = (prefix, areSizes)
    }

    /// The same keys, for values without which the shapes of weights are not known.
    var sizes: ConfigurationKeys {
        ConfigurationKeys(values, file: file, notes: notes, prefix: prefix, areSizes: true)
    }

    /// The object at `key`.
    func object(_ key: String) -> ConfigurationKeys? {
        guard case .object(let object)? = value(key, "an object", { if case .object = $0 { $0 } else { nil } }) else {
            return nil
        }
        return ConfigurationKeys(object, file: file, notes: notes, prefix: "\(prefix)\(key).", areSizes: areSizes)
    }

    /// The whole number at `key`, or `missing` without one; what is out of `range` is noted.
    func whole(_ key: String, _ range: ClosedRange<Int> = 1...1 << 24, missing: Int? = nil) -> Int {
        let value = number(key) ?? missing.map(Double.init)
        if let value, let whole = Int(exactly: value), range.contains(whole) { return whole }
        if isGood(key) {
            refuse(
                key, value.map { "\(Int(exactly: $0)?.description ?? "\($0)")" } ?? "nothing",
                "a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return missing.map { min(max($0, range.lowerBound), range.upperBound) } ?? range.lowerBound
    }

    /// The number at `key`, or `missing` without one; what is out of `range`, which the complaint calls `words`, is noted.
    func number(_ key: String, _ range: ClosedRange<Double>, _ words: String, missing: Double) -> Float {
        let value = number(key) ?? missing
        if range.contains(value) { return Float(value) }
        refuse(key, "\(value)", "a number \(words)")
        return Float(range.lowerBound)
    }

    /// The number at `key`, if there is one.
    func number(_ key: String) -> Double? {
        value(key, "a number") { if case .number(let number) = $0 { number } else { nil } }
    }

    /// Whether `key` is true, if it says.
    func flag(_ key: String) -> Bool? {
        value(key, "true or false") { if case .flag(let flag) = $0 { flag } else { nil } }
    }

    /// The text at `key`, if there is any.
    func string(_ key: String) -> String? {
        value(key, "a string") { if case .string(let string) = $0 { string } else { nil } }
    }

    /// The numbers at `key`, if there is a list.
    func numbers(_ key: String) -> [Double]? {
        list(key, "a number") { if case .number(let number) = $0 { number } else { nil } }
    }

    /// The texts at `key`, if there is a list.
    func strings(_ key: String) -> [String]? {
        list(key, "a string") { if case .string(let string) = $0 { string } else { nil } }
    }

    /// The token ids at `key`, one or a list.
    func tokenIDs(_ key: String) -> [Double] {
        value(key, "a token id or a list of them") { value in
            switch value {
            case .number(let id): return [id]
            case .list(let list):
                let ids = list.compactMap { if case .number(let id) = $0 { id } else { nil } }
                return ids.count == list.count ? ids : nil
            default: return nil
            }
        } ?? []
    }

    /// The first of `keys` that has a value; the first of all if none has.
    func present(_ keys: String...) -> String {
        keys.first { if case nil = values[$0] { false } else if case .null? = values[$0] { false } else { true } }
            ?? keys[0]
    }

    /// Whether nothing was wrong with `keys`.
    func isGood(_ keys: String...) -> Bool { keys.allSatisfy { !notes.keys.contains(prefix + $0) } }

    /// Notes a complaint about `key`.
    func refuse(_ key: String, _ found: String, _ expected: String) {
        notes.keys.insert(prefix + key)
        if areSizes { notes.knowsSizes = false }
        notes.problems.append(ModelFileError(file: file, item: prefix + key, found: found, expected: expected))
    }

    /// What `convert` makes of the value at `key`; a value that it does not take is noted as no `type`.
    private func value<Value>(_ key: String, _ type: String, _ convert: (ConfigurationValue) -> Value?) -> Value? {
        guard let value = values[key] else { return nil }
        if case .null = value { return nil }
        if let value = convert(value) { return value }
        if isGood(key) { refuse(key, "a value of another type", type) }
        return nil
    }

    private func list<Element>(
        _ key: String, _ type: String, _ convert: (ConfigurationValue) -> Element?
    ) -> [Element]? {
        guard
            case .list(let values)? = value(key, "a list", { if case .list = $0 { $0 } else { nil } })
        else { return nil }
        return values.enumerated().compactMap { index, value in
            if let element = convert(value) { return element }
            let isNull = if case .null = value { true } else { false }
            refuse("\(key)[\(index)]", isNull ? "null" : "a value of another type", type)
            return nil
        }
    }
}
