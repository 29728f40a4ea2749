// ModelFileError+Decoding: what a JSON decoder complains of, in words for somebody who has only the file.

extension ModelFileError {
    /// A JSON file that could not be decoded.
    ///
    /// - Parameters:
    ///   - file: its name.
    ///   - item: the place when the error names none, such as a part of `file`.
    ///   - error: what the decoder threw.
    ///   - expected: what the file should hold. A `dataCorrupted` error with a place says so in its description.
    package init(file: String, item: String? = nil, decoding error: any Error, expected: String) {
        func place(_ context: DecodingError.Context) -> String? {
            let path = context.codingPath.reduce("") { path, key in
                if let index = key.intValue { return "\(path)[\(index)]" }
                return path + (path.isEmpty ? "" : ".") + key.stringValue
            }
            return path.isEmpty ? item : path
        }
        switch error {
        case DecodingError.typeMismatch(let type, let context):
            self.init(
                file: file, item: place(context), found: "a value of another type",
                expected: context.codingPath.isEmpty ? expected : Self.name(type))
        case DecodingError.valueNotFound(let type, let context):
            self.init(
                file: file, item: place(context), found: "null",
                expected: context.codingPath.isEmpty ? expected : Self.name(type))
        case DecodingError.keyNotFound(let key, let context):
            self.init(file: file, item: place(context), found: "no \(key.stringValue)", expected: expected)
        case DecodingError.dataCorrupted(let context) where !context.codingPath.isEmpty:
            self.init(
                file: file, item: place(context), found: "a value of another type", expected: context.debugDescription)
        default:
            // The decoder does not tell a broken file from an integer with a fraction, nor where it is.
            self.init(file: file, item: item, found: "invalid JSON, or a number out of range", expected: expected)
        }
    }

    private static func name(_ type: any Any.Type) -> String {
        switch "\(type)" {
        case let name where name.hasPrefix("Array"): "a list"
        case let name where name.hasPrefix("Dictionary"): "an object"
        case let name where name.hasPrefix("Int") || name.hasPrefix("UInt"): "a whole number"
        case "Double", "Float": "a number"
        case "Bool": "true or false"
        case "String": "a string"
        case let name: name
        }
    }
}
