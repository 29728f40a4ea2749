// ExpertsInput: reading what the `experts` commands were given, with errors that name the file.

import Experts
import Foundation

/// Files that the `experts` commands read.
enum ExpertsInput {
    /// The recording at `path`.
    static func recording(_ path: String) throws -> Recording {
        do {
            return try Recording.read(path)
        } catch {
            let text = "\(error)"
            throw ExpertsFailure(text.hasPrefix(path) ? text : "\(path): \(text)")
        }
    }

    /// The loads at `path`; a file that counts nothing is refused.
    static func load(_ path: String) throws -> LoadSeries {
        guard let series = try LoadSeries.read(path).withoutIdleRows() else {
            throw ExpertsFailure("\(path): counts no tokens at all; record while requests run")
        }
        return series
    }

    /// Such as `51.3 %`.
    static func percent(_ share: Double) -> String { String(format: "%.1f %%", share * 100) }

    /// A balancedness, such as `0.9987`.
    static func rate(_ value: Double) -> String { String(format: "%.4f", value) }

    /// The last part of a path.
    static func name(_ path: String) -> String { path.split(separator: "/").last.map(String.init) ?? path }
}
