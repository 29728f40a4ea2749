// SafetensorsFile: the header of one safetensors file, checked once; tensors are then views of the mapped bytes.
//
// Format: 8 bytes little-endian header length, the header (a JSON object: name -> dtype, shape, data_offsets), the
// data. Offsets count from the end of the header.

#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

/// One safetensors file.
public struct SafetensorsFile: Sendable {
    /// The tensors by name.
    public let tensors: [String: Tensor]

    /// Longest header that is read; real ones are a few megabytes at most.
    private static let headerLimit = 100 << 20

    /// Reads and checks the header of `file`.
    ///
    /// - Throws: `ModelFileError` naming the file, the tensor, what was found and what was expected, when the file is
    ///   truncated, the header is no valid JSON, a type is unknown, or offsets overlap or leave the file.
    public init(_ file: MappedBytes) throws(ModelFileError) {
        try self.init(file) { (problem) throws(ModelFileError) in throw problem }
    }

    /// Reads the header of `file`, too, and tells `report` of every bad entry; if it throws none, the tensors are the good
    /// ones.
    public init(
        _ file: MappedBytes, report: (ModelFileError) throws(ModelFileError) -> Void
    ) throws(ModelFileError) {
        let bytes = file.bytes
        guard bytes.count >= 8 else {
            throw ModelFileError(
                file: file.name, found: "\(bytes.count) bytes", expected: "at least 8 bytes of a safetensors file")
        }
        let length = UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self))
        guard length <= UInt64(Self.headerLimit), Int(length) <= bytes.count - 8 else {
            throw ModelFileError(
                file: file.name, item: "header", found: "a length of \(length) bytes in a file of \(bytes.count)",
                expected: "a header that fits the file and has at most \(Self.headerLimit) bytes")
        }
        let start = 8 + Int(length)
        let header: Header
        do {
            header = try JSONDecoder().decode(Header.self, from: Data(bytes[8..<start]))
        } catch {
            throw ModelFileError(
                file: file.name, item: "header", decoding: error, expected: "an object of {dtype, shape, data_offsets}")
        }
        var tensors: [String: Tensor] = [:]
        tensors.reserveCapacity(header.entries.count)
        var ranges: [(range: Range<Int>, name: String)] = []
        ranges.reserveCapacity(header.entries.count)
        for (name, entry) in header.entries.sorted(by: { $0.key < $1.key }) {  // the same error every time
            do throws(ModelFileError) {
                let range = try Self.check(entry, name: name, file: file.name, dataSize: bytes.count - start)
                guard let dtype = DType(rawValue: entry.dtype) else {
                    throw ModelFileError(
                        file: file.name, item: name, found: "dtype \(entry.dtype)",
                        expected: "one of \(DType.allCases.map(\.rawValue).joined(separator: ", "))")
                }
                ranges.append((range, name))
                tensors[name] = Tensor(
                    name: name, dtype: dtype, shape: entry.shape, owner: file, offset: start + range.lowerBound)
            } catch {
                try report(error)
            }
        }
        ranges.sort { ($0.range.lowerBound, $0.range.upperBound) < ($1.range.lowerBound, $1.range.upperBound) }
        for (before, after) in zip(ranges, ranges.dropFirst())
        where after.range.lowerBound < before.range.upperBound {
            try report(
                ModelFileError(
                    file: file.name, item: after.name,
                    found: "data_offsets \(after.range.lowerBound)..<\(after.range.upperBound), "
                        + "which overlap \(before.name)",
                    expected: "data that starts at \(before.range.upperBound) or later"))
        }
        self.tensors = tensors
    }

    private static func check(
        _ entry: Entry, name: String, file: String, dataSize: Int
    ) throws(ModelFileError) -> Range<Int> {
        guard entry.offsets.count == 2, entry.offsets[0] >= 0, entry.offsets[0] <= entry.offsets[1],
            entry.offsets[1] <= dataSize
        else {
            throw ModelFileError(
                file: file, item: name, found: "data_offsets \(entry.offsets)",
                expected: "[begin, end] within the \(dataSize) bytes of data (is the file truncated?)")
        }
        var size = DType(rawValue: entry.dtype)?.size ?? 0
        for extent in entry.shape {
            let (product, overflow) = size.multipliedReportingOverflow(by: extent)
            guard extent >= 0, !overflow else {
                throw ModelFileError(
                    file: file, item: name, found: "shape \(entry.shape)", expected: "extents that fit memory")
            }
            size = product
        }
        guard DType(rawValue: entry.dtype) == nil || entry.offsets[1] - entry.offsets[0] == size else {
            throw ModelFileError(
                file: file, item: name, found: "\(entry.offsets[1] - entry.offsets[0]) bytes of data",
                expected: "\(size) bytes for \(entry.dtype) \(entry.shape)")
        }
        return entry.offsets[0]..<entry.offsets[1]
    }
}

private struct Entry: Decodable {
    var dtype: String
    var shape: [Int]
    var offsets: [Int]

    enum CodingKeys: String, CodingKey {
        case dtype, shape
        case offsets = "data_offsets"
    }
}

/// The header object without `__metadata__`, whose values are plain strings.
private struct Header: Decodable {
    var entries: [String: Entry] = [:]

    struct Key: CodingKey {
        var stringValue: String
        var intValue: Int? { nil }
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Key.self)
        entries.reserveCapacity(container.allKeys.count)
        for key in container.allKeys where key.stringValue != "__metadata__" {
            entries[key.stringValue] = try container.decode(Entry.self, forKey: key)
        }
    }
}
