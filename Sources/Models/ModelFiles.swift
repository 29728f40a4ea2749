// ModelFiles: the files of one model, wherever they lie: a Hugging Face folder, or embedded in the binary.

public import Compute

#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

/// The files of one model.
public struct ModelFiles: Sendable {
    /// The folder as the user wrote it, or the name of an embedded model.
    public let path: String
    private let source: Source

    private enum Source: Sendable {
        case directory
        case embedded([String: MappedBytes])
    }

    /// The model in the folder `path`.
    ///
    /// - Throws: `FileError` when there is no such folder.
    public init(directory path: String) throws(FileError) {
        var isDirectory = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) else {
            throw FileError(path: path, reason: "no such folder; --model-path takes a Hugging Face model folder")
        }
        guard isDirectory else {
            throw FileError(
                path: path, reason: "not a folder; --model-path takes the folder that holds config.json")
        }
        self.path = path
        source = .directory
    }

    /// A model whose files are in memory for the life of the process.
    public init(embedded name: String, files: [String: MappedBytes]) {
        path = name
        source = .embedded(files)
    }

    /// Whether they are in memory, not in a folder.
    var isEmbedded: Bool {
        guard case .directory = source else { return true }
        return false
    }

    /// The file `name`, mapped; nil when the model has no such file.
    ///
    /// - Throws: `FileError` when the file is there but cannot be read.
    public func bytes(_ name: String) throws(FileError) -> MappedBytes? {
        switch source {
        case .embedded(let files): return files[name]
        case .directory:
            let file = location(of: name)
            guard FileManager.default.fileExists(atPath: file) else { return nil }
            return try MappedBytes(path: file)
        }
    }

    /// Where `name` is or would be, for messages.
    public func location(of name: String) -> String {
        path.hasSuffix("/") ? path + name : path + "/" + name
    }
}
