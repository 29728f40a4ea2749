// Loads from files: any recording, and what others keep: `{"logical_count": …}` of [L, E] or [W, L, E] as JSON or `.pt`,
// or such a table alone. Counts may be real numbers here; recordings hold whole ones.

extension LoadSeries {
    /// Reads the load in the file at `path`, by what it is.
    ///
    /// - Throws: `ExpertFileError` naming the file, and the layer and expert of the first wrong count.
    public static func read(_ path: String) throws(ExpertFileError) -> LoadSeries {
        let bytes: [UInt8]
        do throws(RecordingError) { bytes = try WholeFile.read(path) } catch {
            throw ExpertFileError(error, source: path)
        }
        return try LoadSeries(bytes: bytes, source: path)
    }

    /// The load in `bytes`; `source` names them in errors.
    ///
    /// - Throws: `ExpertFileError`; bytes from anywhere are safe.
    public init(bytes: [UInt8], source: String) throws(ExpertFileError) {
        guard !bytes.isEmpty else {
            throw .malformed(source: source, found: "an empty file", expected: "a recording, or counts of experts")
        }
        if let value = try Self.value(in: bytes, source: source), value[Recording.ownKey] == nil {
            switch value {
            case .dictionary:
                if let counts = value["logical_count"] {
                    self = try Self.table(counts, source: source)
                    return
                }
            default:
                self = try Self.table(value, source: source)
                return
            }
        }
        let recording: Recording
        do throws(RecordingError) { recording = try Recording(bytes: bytes) } catch {
            throw ExpertFileError(error, source: source)
        }
        do throws(PlanError) { try self.init(recording) } catch { throw .load(source: source, error) }
    }

    /// What a JSON or `.pt` file holds; nil for other files, and unless `withNotes` for archives with notes of ours.
    static func value(
        in bytes: [UInt8], source: String, withNotes: Bool = false
    ) throws(ExpertFileError) -> ArchiveValue? {
        do throws(ArchiveError) {
            return try bytes.withUnsafeBufferPointer { bytes throws(ArchiveError) -> ArchiveValue? in
                let bytes = UnsafeRawBufferPointer(bytes)
                switch Recording.Format(content: bytes) {
                case .pt:
                    let (value, note) = try PyTorchArchive.read(bytes, note: Recording.noteName)
                    return note == nil || withNotes ? value : nil
                case .json:
                    guard let value = JSONText.read(bytes) else { throw .damaged("text that is no JSON") }
                    return value
                case .safetensors: return nil
                }
            }
        } catch {
            if case .damaged("text that is no JSON") = error {
                throw .malformed(
                    source: source, found: "text that is no JSON",
                    expected: "one JSON value; NaN and infinity are none, and is the file cut off?")
            }
            throw ExpertFileError(.archive(error), source: source)
        }
    }

    /// The load in a table of two or three dimensions.
    private static func table(_ value: ArchiveValue, source: String) throws(ExpertFileError) -> LoadSeries {
        let table: ValueTable
        do throws(ValueTable.Failure) {
            table = try ValueTable(value)
        } catch {
            switch error {
            case .notNumbers:
                throw .malformed(
                    source: source, found: "counts that are no table of numbers",
                    expected: "logical_count as [layers, experts] or [windows, layers, experts]")
            case .ragged(let place, let size, let expected):
                guard size.count == 1, expected.count == 1 else {
                    throw .malformed(
                        source: source, found: "entry \(place) of size \(size) beside others of \(expected)",
                        expected: "equal sizes")
                }
                throw .load(
                    source: source,
                    .raggedLoad(layer: place.last ?? 0, experts: size[0], expected: expected[0]))
            }
        }
        let shape = table.shape.count == 2 ? [1] + table.shape : table.shape
        guard shape.count == 3 else {
            // An empty list does not show how many dimensions it would have.
            if table.numbers.isEmpty { throw .load(source: source, .emptyLoad(layers: 0, experts: 0)) }
            throw .malformed(
                source: source, found: "counts of shape \(table.shape)",
                expected: "[layers, experts] or [windows, layers, experts]")
        }
        do throws(PlanError) {
            return try LoadSeries(
                table.numbers.map { Float($0) }, layers: shape[1], experts: shape[2], isOrdered: table.shape.count == 3)
        } catch {
            throw .load(source: source, error)
        }
    }
}
