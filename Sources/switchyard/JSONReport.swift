// JSONReport: what `--json` prints.

import Foundation

/// A report as JSON text: one object, keys in order, so that two runs can be compared line by line.
func jsonReport(_ report: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.withoutEscapingSlashes, .prettyPrinted, .sortedKeys]
    return String(decoding: try encoder.encode(report), as: UTF8.self)
}
