// BalancednessLog: lines about how evenly the experts are used, for those who watch the log rather than a dashboard.

internal import Engine
internal import Experts
public import Logging
public import ServiceLifecycle

/// Logs the balancedness of the newest recorded pass, at most once a second.
public struct BalancednessLog: Service {
    private let engine: any InferenceEngine
    private let logger: Logger

    /// A log of what `engine` records.
    public init(engine: any InferenceEngine, logger: Logger) {
        self.engine = engine
        self.logger = logger
    }

    /// Starts recording if it waits for that, then logs until the server stops.
    public func run() async throws {
        if let status = await engine.recordingStatus(), !status.isRecording { try await engine.startRecording() }
        await cancelWhenGracefulShutdown {
            var last = ""
            while !Task.isCancelled {
                if let line = await engine.recordingStatus().flatMap(Self.line), line != last {
                    logger.info("\(line)")
                    last = line
                }
                try? await Task.sleep(for: .seconds(1))
            }
        }
    }

    /// The line about `status`, its fields named and ordered as sglang's; nil when no pass is kept.
    static func line(_ status: RecordingStatus) -> String? {
        let (snapshot, window) = (status.snapshot, status.snapshot.balancedness)
        guard let newest = snapshot.newest else { return nil }
        func rate(_ passes: Int) -> String {
            let thousandths = Int(((window.mean(last: passes) ?? 1) * 1000).rounded())  // a rate is from 0 to 1
            let digits = String(thousandths % 1000)
            return "\(thousandths / 1000)." + String(repeating: "0", count: 3 - digits.count) + digits
        }
        return "[Expert Balancedness] forward_pass_id=\(newest.id) current_pass_balancedness=\(rate(1)) "
            + "last_10_average_balancedness=\(rate(10)) last_100_average_balancedness=\(rate(100)) "
            + "last_1000_average_balancedness=\(rate(1000)) gpu_physical_count_sum=\(newest.pairs)"
    }
}
