// TensorFile: reads and writes safetensors files with metadata, in memory that is already there.
//
// Format: 8 bytes little-endian header length, the header (a JSON object: name -> dtype, shape, data_offsets, and
// `__metadata__` -> texts), the data. The header is filled up with blanks so that the data begin at a multiple of 8.

#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

/// Tensors and texts of one safetensors file.
struct TensorFile {
    /// Longest header that is read.
    private static let headerLimit = 100 << 20

    private struct Entry: Codable {
        var dtype: String
        var shape: [Int]
        var offsets: [Int]

        enum CodingKeys: String, CodingKey {
            case dtype, shape
            case offsets = "data_offsets"
        }
    }

    /// A key of the header.
    private struct Name: CodingKey {
        static let metadata = Name(stringValue: "__metadata__")
        var stringValue: String
        var intValue: Int? { nil }
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    private struct Header: Codable {
        var metadata: [String: String] = [:]
        var entries: [(name: String, entry: Entry)] = []

        init() {}

        init(from decoder: any Decoder) throws {
            let values = try decoder.container(keyedBy: Name.self)
            for key in values.allKeys {
                if key.stringValue == Name.metadata.stringValue {
                    metadata = try values.decode([String: String].self, forKey: key)
                } else {
                    entries.append((key.stringValue, try values.decode(Entry.self, forKey: key)))
                }
            }
        }

        func encode(to encoder: any Encoder) throws {
            var values = encoder.container(keyedBy: Name.self)
            try values.encode(metadata, forKey: .metadata)
            for (name, entry) in entries { try values.encode(entry, forKey: Name(stringValue: name)) }
        }
    }

    var metadata: [String: String] = [:]
    var tensors: [(name: String, tensor: ArchiveTensor)] = []

    /// Writes the file piece by piece.
    func write(to sink: (UnsafeRawBufferPointer) throws -> Void) throws {
        var header = Header()
        header.metadata = metadata
        var offset = 0
        for (name, tensor) in tensors {
            let size = tensor.elements.count * tensor.elements.type.sizeInBytes
            header.entries.append(
                (
                    name,
                    Entry(
                        dtype: tensor.elements.type.safetensorsName, shape: tensor.shape,
                        offsets: [offset, offset + size])
                ))
            offset += size
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        var bytes = [UInt8](try encoder.encode(header))
        bytes += [UInt8](repeating: 0x20, count: (8 - bytes.count % 8) % 8)
        try withUnsafeBytes(of: UInt64(bytes.count).littleEndian, sink)
        try bytes.withUnsafeBytes(sink)
        for (_, tensor) in tensors { try tensor.elements.withBytes(sink) }
    }

    /// A file without content.
    init() {}

    /// The file in `bytes`.
    ///
    /// - Throws: `RecordingError.malformed` when it is cut off, the header is no header, or offsets leave the file.
    init(_ bytes: UnsafeRawBufferPointer) throws(RecordingError) {
        let expected = "a whole safetensors file"
        guard bytes.count >= 8 else { throw .malformed(found: "\(bytes.count) bytes", expected: expected) }
        let length = UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self))
        guard length <= UInt64(Self.headerLimit), Int(length) <= bytes.count - 8 else {
            throw .malformed(found: "a header of \(length) bytes in a file of \(bytes.count)", expected: expected)
        }
        let header: Header
        do {
            header = try JSONDecoder().decode(Header.self, from: Data(bytes[8..<8 + Int(length)]))
        } catch {
            throw .malformed(found: "a header that is no table of tensors", expected: expected)
        }
        metadata = header.metadata
        let data = UnsafeRawBufferPointer(rebasing: bytes[(8 + Int(length))...])
        var taken = 0
        for (name, entry) in header.entries.sorted(by: { $0.name < $1.name }) {
            guard let type = ArchiveElementType.allCases.first(where: { $0.safetensorsName == entry.dtype }) else {
                throw .malformed(found: "\(name) of type \(entry.dtype)", expected: "a known type")
            }
            var size = type.sizeInBytes
            for extent in entry.shape {
                let (product, overflow) = size.multipliedReportingOverflow(by: extent)
                guard extent >= 0, !overflow else {
                    throw .malformed(found: "\(name) of shape \(entry.shape)", expected: expected)
                }
                size = product
            }
            guard entry.shape.count <= 64, entry.offsets.count == 2, entry.offsets[0] >= 0,
                entry.offsets[0] <= entry.offsets[1], entry.offsets[1] <= data.count,
                entry.offsets[1] - entry.offsets[0] == size, size <= data.count - taken
            else { throw .malformed(found: "\(name) at \(entry.offsets) of \(data.count) bytes", expected: expected) }
            taken += size
            let strides = ArchiveTensor.strides(of: entry.shape)
            tensors.append(
                (
                    name,
                    ArchiveTensor(
                        shape: entry.shape,
                        elements: .init(
                            type, UnsafeRawBufferPointer(rebasing: data[entry.offsets[0]..<entry.offsets[1]]),
                            offset: 0, shape: entry.shape, strides: strides))
                ))
        }
    }
}

extension ArchiveElementType {
    var safetensorsName: String {
        switch self {
        case .bool: "BOOL"
        case .uint8: "U8"
        case .int8: "I8"
        case .int16: "I16"
        case .int32: "I32"
        case .int64: "I64"
        case .float16: "F16"
        case .bfloat16: "BF16"
        case .float32: "F32"
        case .float64: "F64"
        }
    }
}
