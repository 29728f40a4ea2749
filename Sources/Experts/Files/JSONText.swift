// JSONText: archive values as JSON and back. Tensors become nested lists; back, a list of whole numbers is a tensor.

#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

/// Writes a value piece by piece: large tables never lie in memory as text.
struct JSONText {
    private var bytes: [UInt8] = []
    private let sink: (UnsafeRawBufferPointer) throws -> Void

    /// Writes `value` and a newline.
    static func write(_ value: ArchiveValue, to sink: (UnsafeRawBufferPointer) throws -> Void) throws {
        try withoutActuallyEscaping(sink) { sink in
            var text = JSONText(sink: sink)
            try text.write(value)
            text.bytes.append(UInt8(ascii: "\n"))
            try text.flush()
        }
    }

    private init(sink: @escaping (UnsafeRawBufferPointer) throws -> Void) { self.sink = sink }

    private mutating func write(_ value: ArchiveValue) throws {
        switch value {
        case .null: put("null")
        case .bool(let value): put(value ? "true" : "false")
        case .int(let value): put("\(value)")
        case .float(let value): put(value.isFinite ? "\(value)" : "null")
        case .string(let value): write(value)
        case .list(let members), .tuple(let members):
            try list(members.count) { try $0.write(members[$1]) }
        case .dictionary(let entries):
            put("{")
            for (index, entry) in entries.enumerated() {
                if index > 0 { put(",\n") }
                write(entry.key)
                put(": ")
                try write(entry.value)
            }
            put("}")
        case .tensor(let tensor):
            if let integers = tensor.elements.integers {
                try write(tensor.shape[...], 0..<integers.count) { $0.put("\(integers[$1])") }
            } else {
                let doubles = tensor.elements.doubles
                try write(tensor.shape[...], 0..<doubles.count) {
                    $0.put(doubles[$1].isFinite ? "\(doubles[$1])" : "null")
                }
            }
        }
        if bytes.count >= 1 << 16 { try flush() }
    }

    private mutating func write(
        _ shape: ArraySlice<Int>, _ range: Range<Int>, _ element: (inout JSONText, Int) -> Void
    ) throws {
        guard let size = shape.first else { return element(&self, range.lowerBound) }
        let step = size == 0 ? 0 : range.count / size
        try list(size) { text, index in
            let first = range.lowerBound + index * step
            try text.write(shape.dropFirst(), first..<first + step, element)
        }
        if bytes.count >= 1 << 16 { try flush() }
    }

    private mutating func list(_ count: Int, _ member: (inout JSONText, Int) throws -> Void) throws {
        put("[")
        for index in 0..<count {
            if index > 0 { put(",") }
            try member(&self, index)
        }
        put("]")
    }

    private mutating func write(_ text: String) {
        put("\"")
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): bytes += [UInt8(ascii: "\\"), byte]
            case 0..<0x20:
                let digits = Array("0123456789abcdef".utf8)
                put("\\u00")
                bytes += [digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            default: bytes.append(byte)
            }
        }
        put("\"")
    }

    private mutating func put(_ text: String) { bytes.append(contentsOf: text.utf8) }

    private mutating func flush() throws {
        try bytes.withUnsafeBytes(sink)
        bytes.removeAll(keepingCapacity: true)
    }
}

extension JSONText {
    /// The value in a JSON text; nil if it is none.
    static func read(_ bytes: UnsafeRawBufferPointer) -> ArchiveValue? {
        try? JSONDecoder().decode(Tree.self, from: Data(bytes)).value
    }

    /// A JSON value.
    private struct Tree: Decodable {
        var value: ArchiveValue

        private struct Name: CodingKey {
            var stringValue: String
            var intValue: Int? { nil }
            init(stringValue: String) { self.stringValue = stringValue }
            init?(intValue: Int) { nil }
        }

        init(from decoder: any Decoder) throws {
            if let object = try? decoder.container(keyedBy: Name.self) {
                value = .dictionary(
                    try object.allKeys.map { .init($0.stringValue, try object.decode(Tree.self, forKey: $0).value) })
                return
            }
            let single = try decoder.singleValueContainer()
            // Rows of tables, the bulk of a file, in one go.
            if let numbers = try? single.decode([Int64].self) {
                value = .tensor(ArchiveTensor(shape: [numbers.count], elements: .int64(numbers)))
            } else if var list = try? decoder.unkeyedContainer() {
                var members: [ArchiveValue] = []
                while !list.isAtEnd { members.append(try list.decode(Tree.self).value) }
                value = .list(members)
            } else if single.decodeNil() {
                value = .null
            } else if let flag = try? single.decode(Bool.self) {
                value = .bool(flag)
            } else if let number = try? single.decode(Int.self) {
                value = .int(number)
            } else if let number = try? single.decode(Double.self) {
                value = .float(number)
            } else {
                value = .string(try single.decode(String.self))
            }
        }
    }
}
