// TemporaryFolder: a place for a test's files, gone when the test is over.

public import Foundation

/// A folder of its own for one test; removed with this object.
public final class TemporaryFolder: Sendable {
    /// Where it is.
    public let url: URL

    /// An empty folder.
    public init() throws {
        url = FileManager.default.temporaryDirectory.appending(path: "switchyard-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    }

    /// A folder with copies of the files in the folder `source`.
    public convenience init(copying source: URL) throws {
        try self.init()
        for file in try FileManager.default.contentsOfDirectory(at: source, includingPropertiesForKeys: nil) {
            try FileManager.default.copyItem(at: file, to: url.appending(path: file.lastPathComponent))
        }
    }

    deinit { try? FileManager.default.removeItem(at: url) }

    /// The folder's path.
    public var path: String { url.path(percentEncoded: false) }

    /// The path of the file `name`, whether it exists or not.
    public func path(of name: String) -> String { url.appending(path: name).path(percentEncoded: false) }

    /// Writes the file `name`.
    public func write(_ bytes: some Sequence<UInt8>, to name: String) throws {
        try Data(bytes).write(to: url.appending(path: name))
    }

    /// Removes the file `name`.
    public func remove(_ name: String) throws { try FileManager.default.removeItem(at: url.appending(path: name)) }
}
