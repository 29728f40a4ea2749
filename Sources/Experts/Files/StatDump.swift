// StatDump: the file that mode `stat` leaves: logical counts per pass, as existing offline tools read them.
//
// A dictionary {rank: 0, logical_count: int32 [passes, L, E], average_utilization_rate_over_window: float or None} in
// a `.pt` archive named `expert_distribution_recorder_<seconds since the epoch>.pt`.
// Blocking; call it from a task of its own with a snapshot.

/// Writer of `stat` dumps.
public enum StatDump {
    /// The dictionary of one dump.
    ///
    /// - Parameters:
    ///   - snapshot: what was recorded.
    ///   - averageUtilization: mean balancedness over the window; nil unless it is reported.
    /// - Returns: the value that readers load.
    public static func value(_ snapshot: Snapshot, averageUtilization: Double? = nil) -> ArchiveValue {
        .dictionary([
            .init("rank", .int(0)),
            .init(
                "logical_count",
                .tensor(
                    ArchiveTensor(
                        shape: [snapshot.rows, snapshot.layers, snapshot.logicalExperts],
                        elements: .int32(snapshot.logicalCounts)))),
            .init("average_utilization_rate_over_window", averageUtilization.map(ArchiveValue.float) ?? .null),
        ])
    }

    /// The name of a dump made at `time`, seconds since the epoch, without its extension.
    public static func name(time: Double) -> String { "expert_distribution_recorder_\(time)" }

    /// Writes a dump; it appears under its name only when complete.
    ///
    /// - Parameters:
    ///   - snapshot: what was recorded.
    ///   - folder: created with its parents if missing.
    ///   - time: seconds since the epoch.
    ///   - averageUtilization: see `value(_:averageUtilization:)`.
    /// - Returns: the path of the file.
    /// - Throws: `ArchiveError`.
    @discardableResult
    public static func write(
        _ snapshot: Snapshot, folder: String, time: Double, averageUtilization: Double? = nil
    ) throws -> String {
        let name = name(time: time)
        return try ReplacingFile.write(folder: folder, name: name + ".pt") { sink in
            try PyTorchArchive.write(
                value(snapshot, averageUtilization: averageUtilization), root: name, to: sink)
        }
    }
}
