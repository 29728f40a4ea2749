// JSONWriter: writes a value's JSON straight into bytes.
//
// Why not Foundation's encoder: it builds a tree of every value and sorts its keys, which at 32 streams took a sixth of
// the CPU time that was not the model's. Here keys stand in the order in which a type encodes them.
//
// Method: containers share one array of bytes. A container knows how deep it stands; before it writes, those that were
//         opened within it and are still open are closed. So no container needs an end of its own.

/// Writes a value's JSON.
final class JSONWriter {
    /// An object or array that is still open.
    private struct Level {
        var end: UInt8
        var isEmpty = true
    }

    private(set) var bytes: [UInt8] = []
    private var levels: [Level] = []

    /// The JSON of `value`.
    ///
    /// - Throws: `EncodingError` for NaN and infinity, which JSON cannot say; what the value's own `encode` throws.
    static func encode(_ value: some Encodable) throws -> [UInt8] {
        let writer = JSONWriter()
        writer.bytes.reserveCapacity(512)
        try writer.write(value)
        writer.close(to: 0)
        return writer.bytes
    }

    /// Opens an object or an array. Returns its depth.
    fileprivate func open(_ start: UInt8, _ end: UInt8) -> Int {
        bytes.append(start)
        levels.append(Level(end: end))
        return levels.count
    }

    private func close(to depth: Int) {
        while levels.count > depth { bytes.append(levels.removeLast().end) }
    }

    /// Begins an element of the container at `depth`.
    fileprivate func begin(at depth: Int) {
        close(to: depth)
        if !levels[depth - 1].isEmpty { bytes.append(UInt8(ascii: ",")) }
        levels[depth - 1].isEmpty = false
    }

    /// Begins a member of the object at `depth`.
    fileprivate func begin(_ key: some CodingKey, at depth: Int) {
        begin(at: depth)
        write(key.stringValue)
        bytes.append(UInt8(ascii: ":"))
    }

    fileprivate func write<Value: Encodable>(_ value: Value) throws {
        // Token ids are most of what is written.
        if Value.self == [Int32].self, let numbers = value as? [Int32] {
            let depth = open(UInt8(ascii: "["), UInt8(ascii: "]"))
            for number in numbers {
                begin(at: depth)
                write(number: number)
            }
        } else {
            try value.encode(to: JSONValueEncoder(writer: self))
        }
    }

    fileprivate func writeNull() { bytes += "null".utf8 }

    fileprivate func write(_ value: Bool) { bytes += (value ? "true" : "false").utf8 }

    fileprivate func write(number: some FixedWidthInteger) {
        var magnitude = UInt64(truncatingIfNeeded: number.magnitude)
        if number < 0 { bytes.append(UInt8(ascii: "-")) }
        let start = bytes.count
        repeat {
            bytes.append(UInt8(ascii: "0") + UInt8(magnitude % 10))
            magnitude /= 10
        } while magnitude > 0
        bytes[start...].reverse()
    }

    /// The shortest digits that read back as the same number.
    fileprivate func write(decimal value: some BinaryFloatingPoint & LosslessStringConvertible) throws {
        guard value.isFinite else {
            throw EncodingError.invalidValue(
                value, EncodingError.Context(codingPath: [], debugDescription: "JSON has no \(value)"))
        }
        bytes += value.description.utf8
    }

    fileprivate func write(_ text: String) {
        bytes.append(UInt8(ascii: "\""))
        var text = text
        text.withUTF8 { text in
            var start = 0
            for (index, byte) in text.enumerated() where byte < 0x20 || byte == 0x22 || byte == 0x5C {
                bytes += text[start..<index]
                start = index + 1
                escape(byte)
            }
            bytes += text[start...]
        }
        bytes.append(UInt8(ascii: "\""))
    }

    private func escape(_ byte: UInt8) {
        bytes.append(UInt8(ascii: "\\"))
        switch byte {
        case 0x0A: bytes.append(UInt8(ascii: "n"))
        case 0x0D: bytes.append(UInt8(ascii: "r"))
        case 0x09: bytes.append(UInt8(ascii: "t"))
        case 0x22, 0x5C: bytes.append(byte)
        default:
            bytes += (byte < 0x10 ? "u000" : "u00").utf8
            bytes += String(byte, radix: 16).utf8
        }
    }
}

/// What a type encodes itself to.
private struct JSONValueEncoder: Encoder, SingleValueEncodingContainer {
    let writer: JSONWriter
    var codingPath: [any CodingKey] { [] }
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
        KeyedEncodingContainer(
            JSONObjectWriter(writer: writer, depth: writer.open(UInt8(ascii: "{"), UInt8(ascii: "}"))))
    }

    func unkeyedContainer() -> any UnkeyedEncodingContainer {
        JSONArrayWriter(writer: writer, depth: writer.open(UInt8(ascii: "["), UInt8(ascii: "]")))
    }

    func singleValueContainer() -> any SingleValueEncodingContainer { self }

    func encodeNil() { writer.writeNull() }
    func encode(_ value: Bool) { writer.write(value) }
    func encode(_ value: String) { writer.write(value) }
    func encode(_ value: Double) throws { try writer.write(decimal: value) }
    func encode(_ value: Float) throws { try writer.write(decimal: value) }
    func encode(_ value: Int) { writer.write(number: value) }
    func encode(_ value: Int8) { writer.write(number: value) }
    func encode(_ value: Int16) { writer.write(number: value) }
    func encode(_ value: Int32) { writer.write(number: value) }
    func encode(_ value: Int64) { writer.write(number: value) }
    func encode(_ value: UInt) { writer.write(number: value) }
    func encode(_ value: UInt8) { writer.write(number: value) }
    func encode(_ value: UInt16) { writer.write(number: value) }
    func encode(_ value: UInt32) { writer.write(number: value) }
    func encode(_ value: UInt64) { writer.write(number: value) }
    func encode(_ value: some Encodable) throws { try writer.write(value) }
}

/// The members of an object. What has no method of its own here goes through the last one.
private struct JSONObjectWriter<Key: CodingKey>: KeyedEncodingContainerProtocol {
    let writer: JSONWriter
    let depth: Int
    var codingPath: [any CodingKey] { [] }

    private func value(for key: some CodingKey) -> JSONValueEncoder {
        writer.begin(key, at: depth)
        return JSONValueEncoder(writer: writer)
    }

    func encodeNil(forKey key: Key) { value(for: key).encodeNil() }
    func encode(_ value: Bool, forKey key: Key) { self.value(for: key).encode(value) }
    func encode(_ value: String, forKey key: Key) { self.value(for: key).encode(value) }
    func encode(_ value: Double, forKey key: Key) throws { try self.value(for: key).encode(value) }
    func encode(_ value: Float, forKey key: Key) throws { try self.value(for: key).encode(value) }
    func encode(_ value: Int, forKey key: Key) { self.value(for: key).encode(value) }
    func encode(_ value: some Encodable, forKey key: Key) throws { try self.value(for: key).encode(value) }

    func nestedContainer<NestedKey: CodingKey>(
        keyedBy type: NestedKey.Type, forKey key: Key
    ) -> KeyedEncodingContainer<NestedKey> { value(for: key).container(keyedBy: type) }
    func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedEncodingContainer { value(for: key).unkeyedContainer() }
    func superEncoder() -> any Encoder { value(for: AnyKey(stringValue: "super")) }
    func superEncoder(forKey key: Key) -> any Encoder { value(for: key) }
}

/// The elements of an array.
private struct JSONArrayWriter: UnkeyedEncodingContainer {
    let writer: JSONWriter
    let depth: Int
    private(set) var count = 0
    var codingPath: [any CodingKey] { [] }

    init(writer: JSONWriter, depth: Int) {
        self.writer = writer
        self.depth = depth
    }

    private mutating func element() -> JSONValueEncoder {
        writer.begin(at: depth)
        count += 1
        return JSONValueEncoder(writer: writer)
    }

    mutating func encodeNil() { element().encodeNil() }
    mutating func encode(_ value: some Encodable) throws { try element().encode(value) }

    mutating func nestedContainer<NestedKey: CodingKey>(
        keyedBy type: NestedKey.Type
    ) -> KeyedEncodingContainer<NestedKey> { element().container(keyedBy: type) }
    mutating func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer { element().unkeyedContainer() }
    mutating func superEncoder() -> any Encoder { element() }
}
