// StepProgress: how many of a known number of steps are done, on standard error, for a person who watches.

/// How many of a known number of steps are done.
final class StepProgress {
    private let steps: Int
    private var done = 0

    /// Shows `steps` steps to come.
    init(steps: Int) {
        self.steps = steps
        show()
    }

    /// One step more is done.
    func advance() {
        done += 1
        show()
    }

    /// Clears the line.
    func finish() {
        if Terminal.errorIsInteractive { Terminal.writeError("\r\u{1B}[K") }
    }

    private func show() {
        guard Terminal.errorIsInteractive else { return }
        let filled = 30 * done / max(1, steps)
        let cells = String(repeating: "#", count: filled) + String(repeating: ".", count: 30 - filled)
        Terminal.writeError("\r[\(cells)] \(done) of \(steps)")
    }
}
