// TemplateNumber: floating-point numbers as Python writes, reads and rounds them.

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

enum TemplateNumber {
    /// `repr(value)`: the shortest digits that read back as `value`, with an exponent below 1e-4 and from 1e16 on.
    static func text(_ value: Double) -> String {
        guard value.isFinite else { return value.isNaN ? "nan" : value < 0 ? "-inf" : "inf" }
        guard value != 0 else { return value.sign == .minus ? "-0.0" : "0.0" }
        // Swift finds the same digits but puts the exponent elsewhere: take the digits, place the point anew.
        let parts = value.magnitude.description.split(separator: "e")
        let mantissa = parts[0].split(separator: ".")
        let fraction = mantissa.count > 1 && mantissa[1] != "0" ? mantissa[1] : ""
        var digits = Array((mantissa[0] + fraction).utf8)
        var point = mantissa[0].utf8.count + (parts.count > 1 ? Int(parts[1]) ?? 0 : 0)
        while digits.count > 1, digits[0] == UInt8(ascii: "0") {
            digits.removeFirst()
            point -= 1
        }
        while digits.count > 1, digits[digits.count - 1] == UInt8(ascii: "0") { digits.removeLast() }
        let sign = value < 0 ? "-" : ""
        let text = TemplateText.decoded(digits)
        if point > 16 || point < -3 {
            let rest = text.dropFirst()
            let exponent = point - 1
            let size = String(exponent.magnitude)
            return sign + text.prefix(1) + (rest.isEmpty ? "" : ".") + rest + "e" + (exponent < 0 ? "-" : "+")
                + (size.count < 2 ? "0" : "") + size
        }
        if point <= 0 { return sign + "0." + String(repeating: "0", count: -point) + text }
        if point >= digits.count { return sign + text + String(repeating: "0", count: point - digits.count) + ".0" }
        return sign + text.prefix(point) + "." + text.dropFirst(point)
    }

    /// `value` with `digits` decimals, 0 to 40, rounded from its exact binary value.
    static func fixed(_ value: Double, digits: Int) -> String {
        guard value.isFinite else { return text(value) }
        var buffer = [CChar](repeating: 0, count: 400)
        let count = withVaList([Int32(clamping: min(max(digits, 0), 40)), value]) {
            vsnprintf(&buffer, buffer.count, "%.*f", $0)
        }
        return TemplateText.decoded(buffer[..<Int(count)].map { UInt8(bitPattern: $0) })
    }

    /// `round(value, digits)`: to the nearest decimal of the exact value.
    static func rounded(_ value: Double, digits: Int) -> Double {
        guard value.isFinite, digits <= 22 else { return value }
        if digits >= 0 { return Double(fixed(value, digits: digits)) ?? value }
        let unit = power(10, Double(-digits))
        return unit.isFinite ? (value / unit).rounded(.toNearestOrEven) * unit : 0
    }

    static func power(_ base: Double, _ exponent: Double) -> Double { pow(base, exponent) }

    /// What `int(text)` reads in base `base`, 2 to 36.
    static func integer(_ text: String, base: Int) -> Int? {
        var digits = TemplateText.stripped(text).lowercased()
        let isNegative = digits.hasPrefix("-")
        if isNegative || digits.hasPrefix("+") { digits.removeFirst() }
        if let prefix = [16: "0x", 8: "0o", 2: "0b"][base], digits.hasPrefix(prefix) { digits.removeFirst(2) }
        guard let first = digits.utf8.first, first != UInt8(ascii: "-"), first != UInt8(ascii: "+") else { return nil }
        return Int((isNegative ? "-" : "") + digits.filter { $0 != "_" }, radix: base)
    }

    /// What `float(text)` reads.
    static func double(_ text: String) -> Double? {
        let digits = TemplateText.stripped(text)
        // Swift also reads hexadecimal, Python does not.
        return digits.utf8.contains { $0 | 0x20 == UInt8(ascii: "x") } ? nil : Double(digits)
    }
}
