// PyTorchArchive: writes the `.pt` container that `torch.load(path, weights_only=True)` reads.
//
// Format: a ZIP file whose entries are all stored, each entry's data starting at a multiple of 64 bytes (filled up by
// an extra field in the local header). One root folder, and in it
//     data.pkl             the value; tensors by reference (PickleWriter)
//     .format_version      1
//     .storage_alignment   64
//     byteorder            little
//     data/0, data/1, …    the tensors' elements, little-endian
//     version              3
// Neither compression nor Zip64: an archive ends below 4 GiB.

/// An archive that could not be written.
public enum ArchiveError: Error, Equatable, CustomStringConvertible {
    /// The archive would reach 4 GiB, beyond plain ZIP.
    case tooLarge(sizeInBytes: Int)
    /// The system refused a file operation.
    case file(path: String, reason: String)

    /// The fact in one line.
    public var description: String {
        switch self {
        case .tooLarge(let size): "the archive would take \(size) bytes; the format ends at 4294967295"
        case .file(let path, let reason): "\(path): \(reason)"
        }
    }
}

/// Writer of `.pt` archives.
public enum PyTorchArchive {
    /// Writes `value` piece by piece.
    ///
    /// - Parameters:
    ///   - value: what `torch.load` shall return.
    ///   - root: name of the folder inside the archive; by custom the file's name without its extension.
    ///   - sink: takes the next bytes of the file.
    /// - Throws: `ArchiveError.tooLarge`, and what `sink` throws.
    public static func write(
        _ value: ArchiveValue, root: String, to sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        precondition(1.littleEndian == 1, "elements are written as they lie in memory, which must be little-endian")
        let pickle = PickleWriter(value)
        var zip = StoredZip()
        func entry(_ name: String, _ bytes: UnsafeRawBufferPointer) throws {
            try zip.add("\(root)/\(name)", bytes, to: sink)
        }
        func entry(_ name: String, text: String) throws {
            try Array(text.utf8).withUnsafeBytes { try entry(name, $0) }
        }
        try pickle.bytes.withUnsafeBytes { try entry("data.pkl", $0) }
        try entry(".format_version", text: "1")
        try entry(".storage_alignment", text: "64")
        try entry("byteorder", text: "little")
        for (key, tensor) in pickle.tensors.enumerated() {
            try tensor.elements.withBytes { try entry("data/\(key)", $0) }
        }
        try entry("version", text: "3\n")
        try zip.finish(to: sink)
    }

    /// The whole archive in memory.
    ///
    /// - Throws: `ArchiveError.tooLarge`.
    public static func bytes(_ value: ArchiveValue, root: String) throws -> [UInt8] {
        var bytes: [UInt8] = []
        try write(value, root: root) { bytes.append(contentsOf: $0) }
        return bytes
    }
}
