// ExpertFileError: why a load or a placement from outside cannot be used; names the file.

/// A load or a placement from outside that cannot be used.
public enum ExpertFileError: Error, Equatable, CustomStringConvertible {
    /// The file could not be read or written.
    case file(path: String, reason: String)
    /// It is something else.
    case malformed(source: String, found: String, expected: String)
    /// Its counts are no load.
    case load(source: String, PlanError)
    /// Its map is no placement.
    case placement(source: String, PlacementError)
    /// Its map has another number of slots per layer than is wanted.
    case slots(source: String, found: Int, expected: Int, logicalExperts: Int)

    /// The fact in one line, and what to do.
    public var description: String {
        switch self {
        case .file(let path, let reason): "\(path): \(reason)"
        case .malformed(let source, let found, let expected): "\(source): found \(found), expected \(expected)"
        case .load(let source, let error): "\(source): \(error)"
        case .placement(let source, let error): "\(source): \(error)"
        case .slots(let source, let found, let expected, let experts):
            "\(source): its map has \(found) slots per layer, \(expected) are wanted; "
                + (found >= experts
                    ? "it goes with \(found - experts) redundant experts" : "it is of a model with fewer experts")
        }
    }

    /// What went wrong with a file, said of `source`.
    init(_ error: RecordingError, source: String) {
        self =
            switch error {
            case .file(let path, let reason): .file(path: path.isEmpty ? source : path, reason: reason)
            case .malformed(let found, let expected): .malformed(source: source, found: found, expected: expected)
            case .archive(let error): .file(path: source, reason: "\(error)")
            case .unknownFormat: .file(path: source, reason: "the format goes by the name; end it in .pt or .json")
            }
    }
}
