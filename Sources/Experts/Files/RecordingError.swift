// RecordingError: why a recording could not be read or written.

/// A recording that could not be read or written.
public enum RecordingError: Error, Equatable, CustomStringConvertible {
    /// The system refused a file operation.
    case file(path: String, reason: String)
    /// The name does not say in which format to write.
    case unknownFormat(path: String)
    /// The `.pt` archive around it is faulty.
    case archive(ArchiveError)
    /// The content is not that of a recording.
    case malformed(found: String, expected: String)

    /// The fact in one line, and what to do.
    public var description: String {
        switch self {
        case .file(let path, let reason): "\(path): \(reason)"
        case .unknownFormat(let path): "\(path): the format goes by the name; end it in .pt, .json or .safetensors"
        case .archive(let error): error.description
        case .malformed(let found, let expected): "not a recording: found \(found), expected \(expected)"
        }
    }

    /// `error` as an error of this type.
    init(_ error: any Error, path: String) {
        self =
            switch error {
            case let error as RecordingError: error
            case ArchiveError.file(let path, let reason): .file(path: path, reason: reason)
            case let error as ArchiveError: .archive(error)
            default: .file(path: path, reason: "\(error)")
            }
    }
}
