// ExpertsOutput: where the `experts` commands write texts, with errors that name the flag.

import Foundation

/// Text that goes to a file or to standard output.
enum ExpertsOutput {
    /// Writes `text` to the file `path`, or to standard output for `-`.
    static func write(_ text: String, to path: String, flag: String) throws {
        guard path != "-" else { return Terminal.write(text) }
        do {
            try Data(text.utf8).write(to: URL(filePath: path), options: .atomic)
        } catch {
            let reason = (error as NSError).localizedDescription
            throw ExpertsFailure("\(flag) \(path): cannot be written (\(reason)); is there such a folder?")
        }
    }
}
