// TemplateJSON: JSON as a chat template sees it.

internal import Hummingbird
internal import NIOCore
internal import Text

#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

/// The JSON value in `bytes`.
///
/// - Throws: `DecodingError` when `bytes` is not JSON.
func templateValue(json bytes: ByteBuffer) throws -> TemplateValue {
    try bytes.decodeJSON(DecodedValue.self).value
}

private struct DecodedValue: Decodable {
    var value: TemplateValue

    init(from decoder: any Decoder) throws {
        if var list = try? decoder.unkeyedContainer() {
            var values: [TemplateValue] = []
            while !list.isAtEnd { values.append(try list.decode(DecodedValue.self).value) }
            value = .array(values)
        } else if let object = try? decoder.container(keyedBy: AnyKey.self) {
            let keys = object.allKeys.sorted { $0.stringValue < $1.stringValue }
            value = .object(try keys.map { ($0.stringValue, try object.decode(DecodedValue.self, forKey: $0).value) })
        } else {
            let single = try decoder.singleValueContainer()
            if single.decodeNil() {
                value = .null
            } else if let flag = try? single.decode(Bool.self) {
                value = .bool(flag)
            } else if let number = try? single.decode(Int.self) {
                value = .int(number)
            } else if let number = try? single.decode(Double.self) {
                value = .double(number)
            } else {
                value = .string(try single.decode(String.self))
            }
        }
    }
}
