// Recordings on disk: read by what the file is, written by what its name says, and never seen half done.

extension Recording {
    /// The formats, by their extensions.
    public enum Format: String, Sendable, CaseIterable {
        /// An archive as existing tools read and write it; see `archive(_:)`.
        case pt
        /// The same dictionary as text, with our own fields under the key `switchyard`.
        case json
        /// Our own format, which says all there is.
        case safetensors

        /// The format that the extension of `path` names.
        public init?(path: String) {
            guard let dot = path.lastIndex(of: ".") else { return nil }
            self.init(rawValue: path[path.index(after: dot)...].lowercased())
        }

        /// The format that `bytes` look like, `.safetensors` when like no other.
        init(content bytes: UnsafeRawBufferPointer) {
            // The length that begins a safetensors file may look like anything, but its last byte is zero.
            let mayBeOther = bytes.count < 9 || bytes[7] != 0
            let first = bytes.first { !" \t\r\n".utf8.contains($0) }
            self =
                if bytes.starts(with: [0x50, 0x4B, 3, 4]) || mayBeOther && bytes.first == 0x80 {
                    .pt
                } else if mayBeOther, first == UInt8(ascii: "{") || first == UInt8(ascii: "[") {
                    .json
                } else {
                    .safetensors
                }
        }
    }

    /// Reads the file at `path`, whichever of the formats it has.
    ///
    /// - Throws: `RecordingError`.
    public static func read(_ path: String) throws(RecordingError) -> Recording {
        try Recording(bytes: try WholeFile.read(path))
    }

    /// The recording in `bytes`, in any of the formats.
    ///
    /// - Throws: `RecordingError`; bytes from anywhere are safe.
    public init(bytes: [UInt8]) throws(RecordingError) {
        self = try bytes.withUnsafeBufferPointer { bytes throws(RecordingError) in
            let bytes = UnsafeRawBufferPointer(bytes)
            switch Format(content: bytes) {
            case .pt:
                do {
                    return try Recording(pt: bytes)
                } catch {
                    throw RecordingError(error, path: "")
                }
            case .json: return try Recording(json: bytes)
            case .safetensors: return try Recording(tensors: try TensorFile(bytes))
            }
        }
    }

    /// Writes the file at `path`, in the format that its extension names; it appears there only when complete.
    ///
    /// - Parameters:
    ///   - path: its folder is created with its parents if missing; a file that is there is replaced.
    ///   - order: how a `.pt` file holds a window's rows.
    /// - Throws: `RecordingError`.
    public func write(_ path: String, order: RowOrder = .stored) throws(RecordingError) {
        guard let format = Format(path: path) else { throw .unknownFormat(path: path) }
        let root = ReplacingFile.name(path).dropLast(format.rawValue.count + 1)
        do {
            try ReplacingFile.write(path) { try write(format, root: String(root), order: order, to: $0) }
        } catch {
            throw RecordingError(error, path: path)
        }
    }

    /// Writes a dump under the name that existing tools look for; it appears there only when complete.
    ///
    /// - Parameters:
    ///   - folder: created with its parents if missing.
    ///   - time: seconds since the epoch.
    ///   - format: of the file.
    /// - Returns: the path of the file.
    /// - Throws: `RecordingError`.
    @discardableResult
    public func writeDump(folder: String, time: Double, format: Format = .pt) throws(RecordingError) -> String {
        // Detailed dumps are made by every rank, the others by the first alone.
        let name = "expert_distribution_recorder_\(time)" + (mode.isDetailed ? "_\(rank)" : "")
        let path = (folder.hasSuffix("/") ? folder : folder + "/") + name + "." + format.rawValue
        try write(path)
        return path
    }

    /// Writes the bytes of a file piece by piece.
    func write(
        _ format: Format, root: String, order: RowOrder = .stored, to sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        switch format {
        case .pt:
            var note: [UInt8] = []
            try JSONText.write(ownFields(isCompact: true, order)) { note += $0 }
            try PyTorchArchive.write(archive(order), root: root, notes: [(Self.noteName, note)], to: sink)
        case .json:
            guard case .dictionary(let entries) = archive(.time) else { return }
            let own = ArchiveValue.Entry(Self.ownKey, ownFields(isCompact: false, .time))
            try JSONText.write(.dictionary(entries + [own]), to: sink)
        case .safetensors: try tensorFile().write(to: sink)
        }
    }

    /// The bytes of a file.
    ///
    /// - Throws: `RecordingError.archive` when a `.pt` archive would be too large.
    public func bytes(_ format: Format, order: RowOrder = .stored) throws(RecordingError) -> [UInt8] {
        var bytes: [UInt8] = []
        do {
            try write(format, root: "recording", order: order) { bytes += $0 }
        } catch {
            throw RecordingError(error, path: "")
        }
        return bytes
    }

    // MARK: Safetensors

    private func tensorFile() throws -> TensorFile {
        var file = TensorFile()
        let fields = fields
        file.tensors = fields.tensors
        for entry in fields.scalars {
            switch entry.value {
            case .string(let text): file.metadata[entry.key] = text
            case .int(let number): file.metadata[entry.key] = "\(number)"
            case .float(let number): file.metadata[entry.key] = "\(number)"
            default:
                var text: [UInt8] = []
                try JSONText.write(entry.value) { text += $0 }
                file.metadata[entry.key] = String(decoding: text.dropLast(), as: UTF8.self)
            }
        }
        return file
    }

    private init(tensors file: TensorFile) throws(RecordingError) {
        var fields = RecordingFields()
        for (name, text) in file.metadata {
            let list = name == "requests" ? Array(text.utf8).withUnsafeBytes { JSONText.read($0) } : nil
            fields.add(name, list ?? .string(text))
        }
        fields.tensors = file.tensors
        try self.init(fields: fields)
    }
}
