// Harness: medians of alternating runs, and the machine's physical limits, measured in the same process.
//
// Baseline and change take turns, so that a drifting machine hits both alike; the ratio is the median of the pairwise
// ratios.

internal import Foundation
internal import Probes

/// Seconds that `body` takes.
public func seconds(_ body: () -> Void) -> Double {
    let start = ContinuousClock.now
    body()
    return (ContinuousClock.now - start) / .seconds(1)
}

/// The middle value.
public func median(_ values: [Double]) -> Double {
    let sorted = values.sorted()
    return sorted.isEmpty ? .nan : sorted[sorted.count / 2]
}

/// Two ways to do the same thing, timed in turn.
public struct Comparison: Sendable {
    /// Median seconds of the baseline.
    public let baseline: Double
    /// Median seconds of the change.
    public let change: Double
    /// Median of baseline / change, pair by pair: above 1 the change is faster.
    public let ratio: Double

    /// Runs both once to warm up, then `rounds` times in turn.
    public init(rounds: Int, baseline: () -> Void, change: () -> Void) {
        baseline()
        change()
        var pairs: [(Double, Double)] = []
        for _ in 0..<rounds { pairs.append((seconds(baseline), seconds(change))) }
        self.baseline = median(pairs.map(\.0))
        self.change = median(pairs.map(\.1))
        ratio = median(pairs.map { $0 / $1 })
    }
}

/// The machine's limits with `threads` threads.
public struct Limits: Sendable {
    /// Bytes per second that can be read from memory.
    public let readBandwidth: Double
    /// Multiply-adds in float32, two operations each, per second.
    public let peak: Double

    /// Measures both; best of five.
    public init(threads: Int) {
        let perThread = 32 << 20
        let floats = UnsafeMutableBufferPointer<Float>.allocate(capacity: perThread * threads)
        floats.initialize(repeating: 1)
        defer { floats.deallocate() }
        let base = Address(floats.baseAddress)
        var reads: [Double] = []
        var operations: [Double] = []
        for _ in 0..<5 {
            let time = seconds {
                DispatchQueue.concurrentPerform(iterations: threads) { thread in
                    _ = probe_read(base.pointer.map { $0 + thread * perThread }, perThread)
                }
            }
            reads.append(Double(perThread * threads * 4) / time)
            let rounds = 10_000_000
            let work = seconds {
                DispatchQueue.concurrentPerform(iterations: threads) { _ in _ = probe_multiply_add(rounds) }
            }
            operations.append(probe_multiply_add(1) * Double(rounds * threads) / work)
        }
        readBandwidth = reads.max() ?? 0
        peak = operations.max() ?? 0
    }
}

/// A pointer that threads share for reading.
private struct Address: @unchecked Sendable {
    let pointer: UnsafePointer<Float>?
    init(_ pointer: UnsafeMutablePointer<Float>?) { self.pointer = UnsafePointer(pointer) }
}

/// Prints aligned columns.
public func printTable(_ rows: [[String]]) {
    let widths = (rows.first ?? []).indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
    for row in rows {
        let cells = zip(row, widths).map { cell, width in
            cell + String(repeating: " ", count: width - cell.count)
        }
        print(cells.joined(separator: "  "))
    }
}

/// `value` with three significant digits.
public func short(_ value: Double) -> String { String(format: "%.3g", value) }

/// The processor's name.
public var machineName: String {
    guard let text = try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8),
        let line = text.split(separator: "\n").first(where: { $0.hasPrefix("model name") }),
        let name = line.split(separator: ":").last
    else { return "unknown processor" }
    return "\(name.trimmingCharacters(in: .whitespaces)), \(ProcessInfo.processInfo.activeProcessorCount) cores"
}
