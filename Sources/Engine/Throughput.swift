// Throughput: generated tokens per second over the last second or so of work.

/// A rate over a sliding window.
struct Throughput {
    private var windowStart = ContinuousClock.now
    private var tokens = 0
    private var lastRate = 0.0

    /// Counts `count` tokens generated now.
    mutating func add(_ count: Int) {
        tokens += count
        let now = ContinuousClock.now
        let seconds = (now - windowStart) / .seconds(1)
        guard seconds >= 1 else { return }
        // A window that was mostly idle says nothing about speed.
        if seconds < 2 { lastRate = Double(tokens) / seconds }
        windowStart = now
        tokens = 0
    }

    /// The last whole window's rate.
    var tokensPerSecond: Double { lastRate }
}
