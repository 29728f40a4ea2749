// Terminal: lines that leave at once, whatever stdout and stderr are connected to.

import Foundation

/// Standard output and standard error, unbuffered.
enum Terminal {
    /// Whether a person watches standard error.
    static var errorIsInteractive: Bool { isatty(2) == 1 }

    /// Writes `text` to standard output as it is.
    static func write(_ text: String) { write(text, to: 1) }

    /// Writes a line to standard output.
    static func print(_ line: String) { write(line + "\n", to: 1) }

    /// Writes a line to standard error.
    static func error(_ line: String) { write(line + "\n", to: 2) }

    /// Writes `text` to standard error as it is.
    static func writeError(_ text: String) { write(text, to: 2) }

    /// A reader that has gone away is no reason to fail: what cannot be written is dropped.
    private static func write(_ text: String, to descriptor: Int32) {
        var rest = ArraySlice(text.utf8)
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) }
            if written > 0 {
                rest = rest.dropFirst(written)
            } else if written == 0 || errno != EINTR {
                return
            }
        }
    }
}
