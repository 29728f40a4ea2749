// ServingMetrics: times and counts of the requests that went through the text generator, for `/metrics`.
//
// Shared state under one `Mutex`, taken once per token that becomes text.

internal import Synchronization

/// A histogram with fixed upper bounds.
struct MetricHistogram: Sendable {
    let bounds: [Double]
    private(set) var counts: [Int]
    private(set) var sum = 0.0
    private(set) var count = 0

    init(_ bounds: [Double]) {
        self.bounds = bounds
        counts = [Int](repeating: 0, count: bounds.count)
    }

    /// Counts one value.
    mutating func add(_ value: Double) {
        if let bucket = bounds.firstIndex(where: { value <= $0 }) { counts[bucket] += 1 }
        sum += value
        count += 1
    }
}

/// Times and counts of requests.
public final class ServingMetrics: Sendable {
    /// All values at one moment.
    struct Values: Sendable {
        var timeToFirstToken = MetricHistogram([
            0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 2, 4, 6, 8, 10, 20, 40, 60, 80, 100, 200, 400,
        ])
        var interTokenLatency = MetricHistogram([
            0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.2, 0.4, 0.8, 1, 2, 4, 8,
        ])
        var requestLatency = MetricHistogram([
            0.05, 0.1, 0.2, 0.4, 0.8, 1, 2, 5, 10, 20, 40, 60, 80, 100, 150, 200, 300, 400, 800,
        ])
        var abortedRequests = 0
    }

    private let storage = Mutex(Values())

    /// All values now.
    var values: Values { storage.withLock { $0 } }

    /// How far a request was; unlike a copy of its output, this does not make the next token copy the tokens before it.
    struct Mark {
        fileprivate let tokens: Int
        fileprivate let elapsed: Duration
        fileprivate let hasFirstToken: Bool
        fileprivate let isFinished: Bool

        init(_ output: TextOutput) {
            tokens = output.outputIDs.count
            elapsed = output.elapsed
            hasFirstToken = output.timeToFirstToken != nil
            isFinished = output.finish != nil
        }
    }

    /// Notes what changed of a request since `before`.
    func note(_ before: Mark, _ after: TextOutput) {
        let elapsed = after.elapsed.seconds
        storage.withLock { values in
            if !before.hasFirstToken, let first = after.timeToFirstToken {
                values.timeToFirstToken.add(first.seconds)
            } else if after.outputIDs.count > before.tokens {
                values.interTokenLatency.add(elapsed - before.elapsed.seconds)
            }
            guard !before.isFinished, let finish = after.finish else { return }
            values.requestLatency.add(elapsed)
            if case .aborted = finish { values.abortedRequests += 1 }
        }
    }
}
