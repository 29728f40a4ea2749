// ArchiveValue: what a `.pt` dump can hold.

/// A value in an archive.
public indirect enum ArchiveValue: Sendable, Equatable {
    /// Python's None.
    case null
    /// A truth value.
    case bool(Bool)
    /// A whole number.
    case int(Int)
    /// A float64.
    case float(Double)
    /// A text.
    case string(String)
    /// A list.
    case list([ArchiveValue])
    /// A tuple.
    case tuple([ArchiveValue])
    /// A dictionary with string keys, in writing order.
    case dictionary([Entry])
    /// A tensor on the CPU.
    case tensor(ArchiveTensor)

    /// One key of a dictionary and its value.
    public struct Entry: Sendable, Equatable {
        /// The key.
        public var key: String
        /// What it stands for.
        public var value: ArchiveValue

        /// One entry.
        public init(_ key: String, _ value: ArchiveValue) {
            self.key = key
            self.value = value
        }
    }

    /// The value under `key`, if this is a dictionary that has it.
    public subscript(key: String) -> ArchiveValue? {
        guard case .dictionary(let entries) = self else { return nil }
        return entries.last { $0.key == key }?.value
    }
}
