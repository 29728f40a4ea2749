// TemplateLexer+Token: names, numbers, strings and operators inside a tag.

extension TemplateLexer {
    /// Reads the token at `position`, which is not white space.
    mutating func token() throws(ChatTemplateError) -> TemplateToken.Kind {
        let byte = bytes[position]
        if TemplateText.isDigit(byte) { return try number() }
        if byte == UInt8(ascii: "'") || byte == UInt8(ascii: "\"") { return .string(try string(quote: byte)) }
        if isNamePart(byte) {
            let start = position
            while position < bytes.count, isNamePart(bytes[position]) { position += 1 }
            return .name(TemplateText.decoded(bytes[start..<position]))
        }
        for width in [2, 1] where position + width <= bytes.count {
            let text = TemplateText.decoded(bytes[position..<position + width])
            if let mark = TemplateMark(rawValue: text) {
                position += width
                return .mark(mark)
            }
        }
        throw failure("unexpected character '\(Unicode.Scalar(byte))'")
    }

    /// Bytes above ASCII pass: identifiers of other scripts are names too.
    private func isNamePart(_ byte: UInt8) -> Bool {
        TemplateText.isDigit(byte) || byte == UInt8(ascii: "_") || byte >= 0x80
            || (byte | 0x20 >= UInt8(ascii: "a") && byte | 0x20 <= UInt8(ascii: "z"))
    }

    private mutating func number() throws(ChatTemplateError) -> TemplateToken.Kind {
        let start = position
        func isDigit(_ place: Int) -> Bool { place < bytes.count && TemplateText.isDigit(bytes[place]) }
        if bytes[start] == UInt8(ascii: "0"), start + 2 < bytes.count {
            let radix = [UInt8(ascii: "x"): 16, UInt8(ascii: "o"): 8, UInt8(ascii: "b"): 2][bytes[start + 1] | 0x20]
            if let radix {
                position += 2
                while position < bytes.count, isNamePart(bytes[position]) { position += 1 }
                return .integer(try integer(start + 2, radix: radix))
            }
        }
        func skipDigits() {
            while isDigit(position) || (position < bytes.count && bytes[position] == UInt8(ascii: "_")) {
                position += 1
            }
        }
        skipDigits()
        var isFloat = false
        if position < bytes.count, bytes[position] == UInt8(ascii: "."), isDigit(position + 1) {
            isFloat = true
            position += 1
            skipDigits()
        }
        if position < bytes.count, bytes[position] | 0x20 == UInt8(ascii: "e") {
            var digits = position + 1
            if digits < bytes.count, bytes[digits] == UInt8(ascii: "+") || bytes[digits] == UInt8(ascii: "-") {
                digits += 1
            }
            if isDigit(digits) {
                isFloat = true
                position = digits
                skipDigits()
            }
        }
        guard isFloat else { return .integer(try integer(start, radix: 10)) }
        let text = TemplateText.decoded(bytes[start..<position].filter { $0 != UInt8(ascii: "_") })
        guard let value = Double(text) else { throw failure("'\(text)' is not a number") }
        return .float(value)
    }

    private func integer(_ start: Int, radix: Int) throws(ChatTemplateError) -> Int {
        let text = TemplateText.decoded(bytes[start..<position].filter { $0 != UInt8(ascii: "_") })
        guard let value = Int(text, radix: radix) else { throw failure("'\(text)' is no integer of 64 bits") }
        return value
    }

    private mutating func string(quote: UInt8) throws(ChatTemplateError) -> String {
        var result: [UInt8] = []
        let opening = failure("a string is not closed")
        position += 1
        while position < bytes.count {
            let byte = bytes[position]
            position += 1
            if byte == quote { return TemplateText.decoded(result) }
            if byte == UInt8(ascii: "\n") { line += 1 }
            if byte == UInt8(ascii: "\\") {
                guard position < bytes.count else { break }
                result += try escape()
            } else {
                result.append(byte)
            }
        }
        throw opening
    }

    /// Reads what follows a backslash, as Python does: an unknown escape stays as it is.
    private mutating func escape() throws(ChatTemplateError) -> [UInt8] {
        let byte = bytes[position]
        position += 1
        switch byte {
        case UInt8(ascii: "\n"):
            line += 1
            return []
        case UInt8(ascii: "n"): return [0x0A]
        case UInt8(ascii: "t"): return [0x09]
        case UInt8(ascii: "r"): return [0x0D]
        case UInt8(ascii: "a"): return [0x07]
        case UInt8(ascii: "b"): return [0x08]
        case UInt8(ascii: "f"): return [0x0C]
        case UInt8(ascii: "v"): return [0x0B]
        case UInt8(ascii: "\\"), UInt8(ascii: "'"), UInt8(ascii: "\""): return [byte]
        case UInt8(ascii: "x"): return try codePoint(digits: 2)
        case UInt8(ascii: "u"): return try codePoint(digits: 4)
        case UInt8(ascii: "U"): return try codePoint(digits: 8)
        case UInt8(ascii: "0")...UInt8(ascii: "7"):
            var value = UInt32(byte - UInt8(ascii: "0"))
            for _ in 0..<2 {
                guard position < bytes.count, case UInt8(ascii: "0")...UInt8(ascii: "7") = bytes[position] else {
                    break
                }
                value = value * 8 + UInt32(bytes[position] - UInt8(ascii: "0"))
                position += 1
            }
            return Unicode.Scalar(value).map { Array(String($0).utf8) } ?? []
        case UInt8(ascii: "N"): throw failure("'\\N{…}' in a string is not supported")
        default: return [UInt8(ascii: "\\"), byte]
        }
    }

    private mutating func codePoint(digits: Int) throws(ChatTemplateError) -> [UInt8] {
        var value: UInt32 = 0
        for _ in 0..<digits {
            guard position < bytes.count, let digit = TemplateText.hexDigit(bytes[position]), value < 0x1000_0000 else {
                throw failure("an escape in a string needs \(digits) hex digits")
            }
            value = value << 4 | digit
            position += 1
        }
        guard let scalar = Unicode.Scalar(value) else { throw failure("an escape in a string is no code point") }
        return Array(String(scalar).utf8)
    }
}
