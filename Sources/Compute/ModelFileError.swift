/// Something in a model's files that cannot be used.
public struct ModelFileError: Error, Equatable, CustomStringConvertible {
    /// The file.
    public var file: String
    /// The tensor or key within it; nil when the file as a whole is meant.
    public var item: String?
    /// What is there.
    public var found: String
    /// What should be.
    public var expected: String

    /// What is wrong with `item` of `file`.
    public init(file: String, item: String? = nil, found: String, expected: String) {
        self.file = file
        self.item = item
        self.found = found
        self.expected = expected
    }

    /// The facts in one line.
    public var description: String {
        "\(file): \(item.map { "\($0): " } ?? "")found \(found), expected \(expected)"
    }
}
