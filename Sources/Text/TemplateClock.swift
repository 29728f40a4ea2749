// TemplateClock: the local time, as `strftime` writes it, for templates that tell the model what day it is.

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

enum TemplateClock {
    /// The present time in `format`; nil when the result is longer than 1 KiB.
    static func now(format: String) -> String? { text(format: format, secondsSince1970: time(nil)) }

    static func text(format: String, secondsSince1970: Int) -> String? {
        guard !format.isEmpty else { return "" }
        // C would end the format there.
        guard !format.utf8.contains(0) else { return nil }
        var moment: time_t = secondsSince1970
        var parts = tm()
        guard localtime_r(&moment, &parts) != nil else { return nil }
        var buffer = [CChar](repeating: 0, count: 1024)
        // A result of no characters looks like one that is too long, so one character is added and removed again.
        let count = strftime(&buffer, buffer.count, format + ".", &parts)
        guard count > 0 else { return nil }
        return String(validating: buffer[..<(count - 1)].lazy.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
