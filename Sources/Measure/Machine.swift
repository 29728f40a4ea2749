// Machine: what to call the machine that a number comes from, and how to print numbers.

internal import Foundation

/// The machine that runs this.
public enum Machine {
    /// The processor's name and how many cores there are.
    public static var name: String {
        let cores = ProcessInfo.processInfo.activeProcessorCount
        guard let text = try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8),
            let line = text.split(separator: "\n").first(where: { $0.hasPrefix("model name") }),
            let name = line.split(separator: ":").last
        else { return "unknown processor, \(cores) cores" }
        return "\(name.trimmingCharacters(in: .whitespaces)), \(cores) cores"
    }
}

/// Rows of cells as aligned columns, one line each.
public func table(_ rows: [[String]]) -> String {
    let widths = (rows.first ?? []).indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
    return rows.map { row in
        zip(row, widths).map { cell, width in cell + String(repeating: " ", count: width - cell.count) }
            .joined(separator: "  ")
    }.joined(separator: "\n")
}

/// `value` with three significant digits.
public func short(_ value: Double) -> String { String(format: value >= 1000 ? "%.0f" : "%.3g", value) }
