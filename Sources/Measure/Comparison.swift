// Comparison: medians of alternating runs.
//
// Baseline and change take turns, so that a drifting machine hits both alike; the ratio is the median of the pairwise
// ratios.

/// Seconds that `body` takes.
public func seconds(_ body: () -> Void) -> Double {
    let start = ContinuousClock.now
    body()
    return (ContinuousClock.now - start) / .seconds(1)
}

/// The value that the share `quantile` of the values does not exceed; NaN without values.
public func quantile(_ quantile: Double, of values: [Double]) -> Double {
    let sorted = values.sorted()
    guard let last = sorted.indices.last else { return .nan }
    return sorted[min(last, Int(quantile * Double(sorted.count)))]
}

/// The middle value.
public func median(_ values: [Double]) -> Double { quantile(0.5, of: values) }

/// Two ways to do the same thing, timed in turn.
public struct Comparison: Sendable {
    /// Median seconds of the baseline.
    public let baseline: Double
    /// Median seconds of the change.
    public let change: Double
    /// What 99 of 100 runs of the change stay below, in seconds.
    public let changeP99: Double
    /// Median of baseline / change, round by round: above 1 the change is faster.
    public let ratio: Double

    /// Runs both once to warm up, then `rounds` times in turn.
    ///
    /// - Parameters:
    ///   - rounds: how often the two take turns.
    ///   - samples: timed runs of the change in a round; a round's ratio is that of its median.
    ///   - repeats: runs in one sample, for changes that are too short for the clock.
    ///   - baseline: what there was.
    ///   - change: what there is.
    ///   - progress: called after each round, untimed.
    public init(
        rounds: Int, samples: Int = 1, repeats: Int = 1, baseline: () -> Void, change: () -> Void,
        progress: () -> Void = {}
    ) {
        baseline()
        change()
        var baselines: [Double] = []
        var changes: [Double] = []
        var ratios: [Double] = []
        for _ in 0..<rounds {
            let before = seconds(baseline)
            let after = (0..<samples).map { _ in
                seconds { for _ in 0..<repeats { change() } } / Double(repeats)
            }
            baselines.append(before)
            changes += after
            ratios.append(before / median(after))
            progress()
        }
        self.baseline = median(baselines)
        self.change = median(changes)
        changeP99 = quantile(0.99, of: changes)
        ratio = median(ratios)
    }
}
