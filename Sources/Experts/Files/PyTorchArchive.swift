// PyTorchArchive: writes and reads the `.pt` container that `torch.load(path, weights_only=True)` knows.
//
// Format: a ZIP file whose entries are all stored, each entry's data starting at a multiple of 64 bytes (filled up by
// an extra field in the local header). One root folder, and in it
//     data.pkl             the value; tensors by reference (PickleWriter)
//     .format_version      1
//     .storage_alignment   64
//     byteorder            little
//     data/0, data/1, …    the tensors' elements, little-endian
//     version              3
// Written without compression and Zip64, so an archive ends below 4 GiB; read with Zip64, never with compression.
// A file from outside is data: of the pickle's opcodes and globals only those that tensors in dictionaries, lists and
// tuples need are known, and sizes are bounded by the file's own.

/// Writer and reader of `.pt` archives.
public enum PyTorchArchive {
    /// Writes `value` piece by piece.
    ///
    /// - Parameters:
    ///   - value: what `torch.load` shall return.
    ///   - root: name of the folder inside the archive; by custom the file's name without its extension.
    ///   - notes: further entries below the root, which `torch.load` passes over.
    ///   - sink: takes the next bytes of the file.
    /// - Throws: `ArchiveError.tooLarge`, and what `sink` throws.
    public static func write(
        _ value: ArchiveValue, root: String, notes: [(name: String, bytes: [UInt8])] = [],
        to sink: (UnsafeRawBufferPointer) throws -> Void
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
        for note in notes { try note.bytes.withUnsafeBytes { try entry(note.name, $0) } }
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

    /// The value that the archive in `file` holds.
    ///
    /// - Parameter file: a whole archive, as `write` or `torch.save` makes them; bytes from anywhere are safe.
    /// - Returns: what was saved; tensors contiguous, whatever views they were.
    /// - Throws: `ArchiveError.damaged` or `.refused`.
    public static func read(_ file: UnsafeRawBufferPointer) throws(ArchiveError) -> ArchiveValue {
        try read(file, note: "").value
    }

    /// The value that the archive in `file` holds, and the bytes of the entry `note` below the root, if there is one.
    static func read(
        _ file: UnsafeRawBufferPointer, note: String
    ) throws(ArchiveError) -> (value: ArchiveValue, note: UnsafeRawBufferPointer?) {
        let zip = try StoredZipReader(file)
        guard let pickle = zip.entries.first(where: { $0.name == "data.pkl" || $0.name.hasSuffix("/data.pkl") }) else {
            throw .refused("it has no data.pkl, so it was not made by torch.save")
        }
        let root = pickle.name.dropLast("data.pkl".count)
        func entry(_ name: String) throws(ArchiveError) -> UnsafeRawBufferPointer? {
            try zip.data(root + name)
        }
        if let order = try entry("byteorder"), !order.elementsEqual("little".utf8) {
            throw .refused("its numbers are not little-endian; save it on another machine")
        }
        var reader = PickleReader(try zip.data(of: pickle), archiveSize: file.count) { key throws(ArchiveError) in
            try entry("data/" + key)
        }
        return (try reader.read(), try entry(note))
    }

    /// The value that the archive in `file` holds.
    ///
    /// - Throws: `ArchiveError.damaged` or `.refused`.
    public static func read(_ file: [UInt8]) throws(ArchiveError) -> ArchiveValue {
        try file.withUnsafeBufferPointer { bytes throws(ArchiveError) in try read(UnsafeRawBufferPointer(bytes)) }
    }
}
