// ConfigurationValue: what stands in a config.json, read as a whole, so that one bad value hides no other.

internal import Compute

#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

/// Any JSON value.
enum ConfigurationValue: Decodable {
    case null
    case flag(Bool)
    case number(Double)
    case string(String)
    case list([ConfigurationValue])
    case object([String: ConfigurationValue])
    /// A number out of range.
    case unreadable

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        self =
            if container.decodeNil() {
                .null
            } else if let flag = try? container.decode(Bool.self) {
                .flag(flag)
            } else if let number = try? container.decode(Double.self) {
                .number(number)
            } else if let string = try? container.decode(String.self) {
                .string(string)
            } else if let list = try? container.decode([ConfigurationValue].self) {
                .list(list)
            } else if let object = try? container.decode([String: ConfigurationValue].self) {
                .object(object)
            } else {
                .unreadable
            }
    }

    /// The keys of the file `name` of a model; nil when there is none.
    static func read(_ name: String, _ files: ModelFiles) throws(ModelFileError) -> [String: ConfigurationValue]? {
        let file = files.location(of: name)
        let bytes: MappedBytes?
        do {
            bytes = try files.bytes(name)
        } catch {
            throw ModelFileError(file: file, found: error.reason, expected: "a readable file")
        }
        guard let bytes else { return nil }
        let value: ConfigurationValue
        do {
            value = try JSONDecoder().decode(ConfigurationValue.self, from: Data(bytes.bytes))
        } catch {
            throw ModelFileError(file: file, decoding: error, expected: "a JSON object")
        }
        guard case .object(let keys) = value else {
            throw ModelFileError(file: file, found: "a value of another type", expected: "a JSON object")
        }
        return keys
    }
}
