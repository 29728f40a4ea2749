// TemplateValue+JSON: JSON text into template values, with the order of keys kept.
//
// Tool definitions are printed into the prompt as the client wrote them, so keys stay in order, and 1 and 1.0 stay
// apart. Strict RFC 8259; nesting is limited because the parser recurses.

extension TemplateValue {
    /// Parses one JSON text in UTF-8.
    ///
    /// A key that occurs twice keeps its first place and its last value. A whole number that does not fit `Int`
    /// becomes the nearest `double`.
    ///
    /// - Parameter bytes: the whole text; white space around the value is allowed, a byte order mark is not.
    /// - Throws: `ChatTemplateError` for anything that is not JSON, invalid UTF-8, a lone surrogate, a number too large
    ///   for `Double`, and nesting deeper than 512.
    public init(json bytes: some Collection<UInt8>) throws(ChatTemplateError) {
        let bytes = Array(bytes)
        guard String(validating: bytes, as: UTF8.self) != nil else {
            throw ChatTemplateError("JSON: the text is not valid UTF-8")
        }
        var parser = TemplateJSONParser(bytes: bytes)
        self = try parser.document()
    }
}

private struct TemplateJSONParser {
    private static let maximumDepth = 512
    let bytes: [UInt8]
    private var position = 0
    private var depth = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

    private func failure(_ message: String) -> ChatTemplateError {
        ChatTemplateError("JSON: \(message) at byte \(position)")
    }

    mutating func document() throws(ChatTemplateError) -> TemplateValue {
        let result = try value()
        skipSpace()
        guard next == nil else { throw failure("text after the value") }
        return result
    }

    private mutating func skipSpace() {
        while let byte = next, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { position += 1 }
    }

    private mutating func skip(_ byte: UInt8) -> Bool {
        guard next == byte else { return false }
        position += 1
        return true
    }

    private mutating func value() throws(ChatTemplateError) -> TemplateValue {
        skipSpace()
        switch next {
        case UInt8(ascii: "{"): return try object()
        case UInt8(ascii: "["): return try array()
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        case .some(UInt8(ascii: "-")), .some(UInt8(ascii: "0")...UInt8(ascii: "9")): return try number()
        case nil: throw failure("the text ends where a value is expected")
        default: throw failure("a value is expected")
        }
    }

    private mutating func word(_ text: String, _ value: TemplateValue) throws(ChatTemplateError) -> TemplateValue {
        guard bytes[position...].starts(with: text.utf8) else { throw failure("a value is expected") }
        position += text.utf8.count
        return value
    }

    private mutating func descend() throws(ChatTemplateError) {
        depth += 1
        position += 1
        guard depth <= Self.maximumDepth else { throw failure("nesting deeper than \(Self.maximumDepth)") }
        skipSpace()
    }

    private mutating func array() throws(ChatTemplateError) -> TemplateValue {
        try descend()
        defer { depth -= 1 }
        var items: [TemplateValue] = []
        if skip(UInt8(ascii: "]")) { return .array(items) }
        while true {
            items.append(try value())
            skipSpace()
            if skip(UInt8(ascii: "]")) { return .array(items) }
            guard skip(UInt8(ascii: ",")) else { throw failure("',' or ']' is expected") }
        }
    }

    private mutating func object() throws(ChatTemplateError) -> TemplateValue {
        try descend()
        defer { depth -= 1 }
        var members: [(key: String, value: TemplateValue)] = []
        var places: [TemplateKey: Int] = [:]
        if skip(UInt8(ascii: "}")) { return .object(members) }
        while true {
            skipSpace()
            guard next == UInt8(ascii: "\"") else { throw failure("a key is expected") }
            let key = try string()
            skipSpace()
            guard skip(UInt8(ascii: ":")) else { throw failure("':' is expected") }
            let value = try value()
            if let place = places[.text(key)] {
                members[place].value = value
            } else {
                places[.text(key)] = members.count
                members.append((key, value))
            }
            skipSpace()
            if skip(UInt8(ascii: "}")) { return .object(members) }
            guard skip(UInt8(ascii: ",")) else { throw failure("',' or '}' is expected") }
        }
    }

    private mutating func digits() throws(ChatTemplateError) {
        let start = position
        while let byte = next, TemplateText.isDigit(byte) { position += 1 }
        guard position > start else { throw failure("a digit is expected") }
    }

    private mutating func number() throws(ChatTemplateError) -> TemplateValue {
        let start = position
        var isWhole = true
        _ = skip(UInt8(ascii: "-"))
        if !skip(UInt8(ascii: "0")) { try digits() }
        if skip(UInt8(ascii: ".")) {
            isWhole = false
            try digits()
        }
        if skip(UInt8(ascii: "e")) || skip(UInt8(ascii: "E")) {
            isWhole = false
            if !skip(UInt8(ascii: "+")) { _ = skip(UInt8(ascii: "-")) }
            try digits()
        }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        if isWhole, let int = Int(text) { return .int(int) }
        guard let double = Double(text), double.isFinite else { throw failure("a number out of range") }
        return .double(double)
    }

    private mutating func string() throws(ChatTemplateError) -> String {
        position += 1
        var result: [UInt8] = []
        while let byte = next {
            switch byte {
            case UInt8(ascii: "\""):
                position += 1
                return String(decoding: result, as: UTF8.self)
            case UInt8(ascii: "\\"):
                position += 1
                result.append(contentsOf: String(try escape()).utf8)
            case 0..<0x20: throw failure("a control character in a string")
            default:
                result.append(byte)
                position += 1
            }
        }
        throw failure("a string does not end")
    }

    private mutating func escape() throws(ChatTemplateError) -> Unicode.Scalar {
        guard let byte = next else { throw failure("a string does not end") }
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return Unicode.Scalar(byte)
        case UInt8(ascii: "b"): return "\u{8}"
        case UInt8(ascii: "f"): return "\u{C}"
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "u"):
            let first = try fourHexDigits()
            if let scalar = Unicode.Scalar(first) { return scalar }
            guard UTF16.isLeadSurrogate(UInt16(first)), skip(UInt8(ascii: "\\")), skip(UInt8(ascii: "u")) else {
                throw failure("a lone surrogate")
            }
            let second = try fourHexDigits()
            guard UTF16.isTrailSurrogate(UInt16(second)),
                let scalar = Unicode.Scalar(0x10000 + (first - 0xD800) << 10 + (second - 0xDC00))
            else { throw failure("a lone surrogate") }
            return scalar
        default: throw failure("an unknown escape")
        }
    }

    private mutating func fourHexDigits() throws(ChatTemplateError) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<4 {
            guard let digit = next.flatMap(TemplateText.hexDigit) else { throw failure("four hex digits are expected") }
            value = value << 4 | digit
            position += 1
        }
        return value
    }
}
