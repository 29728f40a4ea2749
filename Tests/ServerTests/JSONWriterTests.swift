import Foundation
import Support
import Testing

@testable import Server

@Suite struct JSONWriterTests {
    /// A value of any shape, which says itself in every way that the encoder's protocols know.
    private indirect enum Sample: Encodable, Equatable {
        case null, bool(Bool), int(Int), float(Float), double(Double), text(String), ids([Int32])
        case list([Sample]), nestedList([Sample]), optional(Int8?)
        case object([(key: String, value: Sample)]), nestedObject([(key: String, value: Sample)])

        func encode(to encoder: any Encoder) throws {
            switch self {
            case .null:
                var container = encoder.singleValueContainer()
                try container.encodeNil()
            case .bool(let value): try value.encode(to: encoder)
            case .int(let value): try value.encode(to: encoder)
            case .float(let value): try value.encode(to: encoder)
            case .double(let value): try value.encode(to: encoder)
            case .text(let value): try value.encode(to: encoder)
            case .ids(let value): try value.encode(to: encoder)
            case .optional(let value):
                var container = encoder.singleValueContainer()
                try container.encode(value)
            case .list(let values):
                var container = encoder.unkeyedContainer()
                for value in values { try container.encode(value) }
            case .nestedList(let values):
                var container = encoder.unkeyedContainer()
                var nested = container.nestedUnkeyedContainer()
                for value in values { try nested.encode(value) }
                try container.encodeNil()
            case .object(let members):
                var container = encoder.container(keyedBy: AnyKey.self)
                for (key, value) in members { try container.encode(value, forKey: AnyKey(stringValue: key)) }
            case .nestedObject(let members):
                var container = encoder.container(keyedBy: AnyKey.self)
                var nested = container.nestedContainer(keyedBy: AnyKey.self, forKey: AnyKey(stringValue: "nested"))
                for (key, value) in members { try nested.encode(value, forKey: AnyKey(stringValue: key)) }
                try container.encodeIfPresent(1, forKey: AnyKey(stringValue: "after"))
            }
        }

        static func == (one: Self, other: Self) -> Bool { false }

        static func random(depth: Int, using random: inout SeededGenerator) -> Sample {
            func members(_ random: inout SeededGenerator) -> [(key: String, value: Sample)] {
                (0..<Int.random(in: 0...4, using: &random)).map {
                    ("\($0)" + text(&random), Self.random(depth: depth - 1, using: &random))
                }
            }
            func list(_ random: inout SeededGenerator) -> [Sample] { members(&random).map(\.value) }
            switch Int.random(in: 0...(depth > 0 ? 11 : 7), using: &random) {
            case 0: return .null
            case 1: return .bool(Bool.random(using: &random))
            case 2: return .int(Int(truncatingIfNeeded: random.next()) >> Int.random(in: 0...63, using: &random))
            case 3: return .float(Float(bitPattern: UInt32(truncatingIfNeeded: random.next())).finite)
            case 4: return .double(Double(bitPattern: random.next()).finite)
            case 5: return .text(text(&random))
            case 6: return .ids((0..<3).map { _ in Int32(truncatingIfNeeded: random.next()) })
            case 7: return .optional(Bool.random(using: &random) ? -128 : nil)
            case 8: return .list(list(&random))
            case 9: return .nestedList(list(&random))
            case 10: return .object(members(&random))
            default: return .nestedObject(members(&random))
            }
        }

        private static func text(_ random: inout SeededGenerator) -> String {
            let scalars = (0..<Int.random(in: 0...6, using: &random)).compactMap { _ in
                Unicode.Scalar(UInt32.random(in: 0...(Bool.random(using: &random) ? 0x7F : 0x1_F6FF), using: &random))
            }
            return String(String.UnicodeScalarView(scalars))
        }
    }

    @Test("random values read back as those that Foundation writes")
    func random() throws {
        var random = SeededGenerator(seed: UInt64.random(in: 0...UInt64.max))
        for _ in 0..<2000 {
            let value = Sample.object([("value", .random(depth: 3, using: &random))])
            let written = Data(try JSONWriter.encode(value))
            let read = try JSONSerialization.jsonObject(with: written)
            let expected = try JSONSerialization.jsonObject(with: try JSONEncoder().encode(value))
            #expect(read as? NSDictionary == expected as? NSDictionary, "\(String(decoding: written, as: UTF8.self))")
        }
    }

    @Test("keys stand in the order of encoding, those of dictionaries in alphabetical order")
    func order() throws {
        let value = Sample.object([("b", .int(1)), ("a", .nestedObject([("z", .list([])), ("y", .null)]))])
        #expect(
            String(decoding: try JSONWriter.encode(value), as: UTF8.self)
                == #"{"b":1,"a":{"nested":{"z":[],"y":null},"after":1}}"#)
        let dictionary = JSONValue.object([
            "b": .double(0.5), "a": .string("\"\n\u{1}/é"), "c": .array([.null, .bool(true)]),
        ])
        #expect(
            String(decoding: try JSONWriter.encode(dictionary), as: UTF8.self)
                == #"{"a":"\"\n\u0001/é","b":0.5,"c":[null,true]}"#)
    }

    @Test("what JSON cannot say is an error", arguments: [Double.nan, .infinity, -.infinity])
    func unsayable(value: Double) {
        #expect(throws: EncodingError.self) { try JSONWriter.encode([value]) }
        #expect(throws: EncodingError.self) { try JSONWriter.encode([Float(value)]) }
    }
}

extension BinaryFloatingPoint {
    fileprivate var finite: Self { isFinite ? self : 0 }
}
