// DumpFile: a recorder's snapshot on disk, written on a thread that may block.

internal import Experts
internal import Foundation

/// Writes dumps.
enum DumpFile {
    /// Writes `snapshot` of the model `name` to a new file in `folder` and returns its path.
    static func write(_ snapshot: Snapshot, model name: String, folder: String) async throws(EngineError) -> String {
        let result: Result<String, EngineError> = await withCheckedContinuation { continuation in
            Thread.detachNewThread {
                do {
                    let path = try Recording(snapshot, model: name)
                        .writeDump(folder: folder, time: Date().timeIntervalSince1970)
                    continuation.resume(returning: .success(path))
                } catch {
                    continuation.resume(returning: .failure(.dumpFailed(path: folder, reason: "\(error)")))
                }
            }
        }
        return try result.get()
    }
}
