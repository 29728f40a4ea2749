// ProgressBar: how far loading has come, on standard error; a moving bar for people, one final line for logs.

import Engine
import Foundation
import Synchronization

/// How far loading has come.
final class ProgressBar: Sendable {
    private let isInteractive: Bool
    private let start = ContinuousClock.now
    private let latest = Mutex((progress: LoadProgress(completedBytes: 0, totalBytes: 0), percent: -1))

    /// - Parameter isInteractive: whether a person watches.
    init(isInteractive: Bool = Terminal.errorIsInteractive) {
        self.isInteractive = isInteractive
    }

    /// Shows `progress`; called on any thread.
    func update(_ progress: LoadProgress) {
        latest.withLock { latest in
            let percent = Self.percent(progress)
            let isNews = percent != latest.percent
            latest = (progress, percent)
            if isInteractive, isNews { Terminal.writeError("\r" + Self.bar(progress)) }
        }
    }

    /// Replaces the bar by one line about the whole.
    func finish() {
        let bytes = latest.withLock { $0.progress.completedBytes }
        let seconds = Self.seconds(ContinuousClock.now - start)
        let line = "loaded \(Self.size(bytes)) in \(String(format: "%.2g", seconds)) s"
        Terminal.error(isInteractive ? "\r\u{1B}[K" + line : line)
    }

    /// Clears the bar before an error is printed.
    func abandon() {
        if isInteractive { Terminal.writeError("\r\u{1B}[K") }
    }

    /// Such as `loading [##########..........]  50 %  12 MB of 24 MB`.
    static func bar(_ progress: LoadProgress, width: Int = 30) -> String {
        let percent = percent(progress)
        let filled = width * percent / 100
        let cells = String(repeating: "#", count: filled) + String(repeating: ".", count: width - filled)
        let padding = String(repeating: " ", count: 3 - String(percent).count)
        return "loading [\(cells)] \(padding)\(percent) %  "
            + "\(size(progress.completedBytes)) of \(size(progress.totalBytes))"
    }

    private static func percent(_ progress: LoadProgress) -> Int {
        guard progress.totalBytes > 0 else { return 0 }
        return min(max(Int(Double(progress.completedBytes) / Double(progress.totalBytes) * 100), 0), 100)
    }

    /// Bytes with a unit and at most three digits.
    static func size(_ bytes: Int) -> String {
        var value = Double(bytes)
        for unit in ["B", "kB", "MB", "GB"] {
            if value < 999.5 { return "\(String(format: "%.3g", value)) \(unit)" }
            value /= 1000
        }
        return "\(String(format: "%.3g", value)) TB"
    }

    private static func seconds(_ duration: Duration) -> Double {
        Double(duration.components.seconds) + Double(duration.components.attoseconds) / 1e18
    }
}
