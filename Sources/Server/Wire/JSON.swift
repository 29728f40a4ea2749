// JSON: the one encoder, and the shapes that typed decoding needs help with.

internal import HTTPTypes
internal import Hummingbird
internal import NIOCore

#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

/// JSON bytes of `value`; NaN and infinity must have become null before.
func encodeJSON(_ value: some Encodable) throws -> ByteBuffer { ByteBuffer(bytes: try JSONWriter.encode(value)) }

extension Response {
    /// A reply with a JSON body.
    static func json(
        _ value: some Encodable, status: HTTPResponse.Status = .ok, headers: HTTPFields = [:]
    ) throws -> Response {
        var headers = headers
        headers[.contentType] = "application/json"
        return Response(status: status, headers: headers, body: ResponseBody(byteBuffer: try encodeJSON(value)))
    }

    /// A reply with a plain-text body.
    static func text(_ text: String, status: HTTPResponse.Status = .ok, headers: HTTPFields = [:]) -> Response {
        var headers = headers
        headers[.contentType] = "text/plain; charset=utf-8"
        return Response(status: status, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
    }
}

extension ByteBuffer {
    /// The readable bytes as JSON.
    ///
    /// - Throws: `RequestError` when they are no UTF-8, which the decoder would not notice in a text that nobody reads.
    func decodeJSON<Value: Decodable>(_ type: Value.Type) throws -> Value {
        guard String(validating: readableBytesView, as: UTF8.self) != nil else {
            throw RequestError("The body is not valid UTF-8.")
        }
        return try JSONDecoder().decode(type, from: Data(readableBytesView))
    }
}

/// A value, or a list of values.
enum OneOrMany<Value: Decodable & Sendable>: Decodable, Sendable {
    case one(Value)
    case many([Value])

    init(from decoder: any Decoder) throws {
        if (try? decoder.unkeyedContainer()) != nil {
            self = .many(try [Value](from: decoder))
        } else {
            self = .one(try Value(from: decoder))
        }
    }

    /// The values as a list.
    var list: [Value] {
        switch self {
        case .one(let value): [value]
        case .many(let values): values
        }
    }

    /// The value for item `index`; a single value counts for all, a list must be as long as the batch.
    func value(at index: Int, of count: Int, field: String) throws(RequestError) -> Value {
        switch self {
        case .one(let value): return value
        case .many(let values):
            guard values.count == count else {
                throw RequestError(
                    "\(field) has \(values.count) entries for \(count) prompts: send one value, or \(count).",
                    field: field)
            }
            return values[index]
        }
    }
}

/// Any field name.
struct AnyKey: CodingKey {
    var stringValue: String
    var intValue: Int? { nil }

    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
}

/// A field whose feature does not exist here; harmless when it is null, false, zero or empty.
private struct Unsupported: Decodable {
    var asksForSomething: Bool

    init(from decoder: any Decoder) throws {
        if let list = try? decoder.unkeyedContainer() {
            asksForSomething = list.count != 0
            return
        }
        let value = try decoder.singleValueContainer()
        if let flag = try? value.decode(Bool.self) {
            asksForSomething = flag
        } else if let number = try? value.decode(Double.self) {
            asksForSomething = number != 0
        } else if let text = try? value.decode(String.self) {
            asksForSomething = !text.isEmpty
        } else {
            asksForSomething = !value.decodeNil()
        }
    }
}

/// Refuses a body that asks for one of `fields`.
func refuseUnsupported(_ fields: [String], in decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: AnyKey.self)
    for name in fields {
        let key = AnyKey(stringValue: name)
        guard container.contains(key),
            try container.decodeIfPresent(Unsupported.self, forKey: key)?
                .asksForSomething == true
        else { continue }
        let path = (decoder.codingPath + [key]).dotted
        throw RequestError("\(path) is not supported in this version: leave it out.", field: path)
    }
}

extension [any CodingKey] {
    /// The path as `messages[0].content`.
    var dotted: String {
        var text = ""
        for key in self {
            if let index = key.intValue {
                text += "[\(index)]"
            } else {
                text += text.isEmpty ? key.stringValue : "." + key.stringValue
            }
        }
        return text
    }
}

/// A JSON value for replies whose keys are only known at run time.
public enum JSONValue: Encodable, Sendable, Equatable {
    case null
    case bool(Bool)
    case int(Int)
    case double(Double)
    case string(String)
    case array([JSONValue])
    case object([String: JSONValue])

    /// Writes the value, keys in alphabetical order; NaN and infinity become null.
    public func encode(to encoder: any Encoder) throws {
        switch self {
        case .null:
            var container = encoder.singleValueContainer()
            try container.encodeNil()
        case .bool(let value): try value.encode(to: encoder)
        case .int(let value): try value.encode(to: encoder)
        case .double(let value): try (value.isFinite ? value : nil).encode(to: encoder)
        case .string(let value): try value.encode(to: encoder)
        case .array(let values): try values.encode(to: encoder)
        case .object(let values):
            var container = encoder.container(keyedBy: AnyKey.self)
            for (key, value) in values.sorted(by: { $0.key < $1.key }) {
                try container.encode(value, forKey: AnyKey(stringValue: key))
            }
        }
    }
}
