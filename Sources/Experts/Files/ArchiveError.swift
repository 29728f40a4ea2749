// ArchiveError: why a `.pt` archive could not be written or read.

/// An archive that could not be written or read.
public enum ArchiveError: Error, Equatable, CustomStringConvertible {
    /// The archive would reach 4 GiB, beyond plain ZIP.
    case tooLarge(sizeInBytes: Int)
    /// The system refused a file operation.
    case file(path: String, reason: String)
    /// The bytes are no archive, or not a whole one.
    case damaged(String)
    /// The archive is whole and asks for what is not read here.
    case refused(String)

    /// The fact in one line, and what to do.
    public var description: String {
        switch self {
        case .tooLarge(let size):
            "the archive would take \(size) bytes and the format ends at 4294967295; dump more often, or as .safetensors"
        case .file(let path, let reason): "\(path): \(reason)"
        case .damaged(let found): "not a whole .pt archive: \(found); copy or save the file again"
        case .refused(let found): "this .pt archive cannot be read: \(found)"
        }
    }
}
