// GoldenTensors: a small safetensors reader for reference vectors. It trusts its files and names what is missing.

public import Foundation

/// The tensors of one safetensors file, little-endian, read whole.
///
/// ```swift
/// let golden = try GoldenTensors("topk/topk.safetensors")
/// let logits = try golden.float32("softmax_M1_E8_k1_raw.logits")  // row-major
/// let shape = try golden.shape("softmax_M1_E8_k1_raw.logits")
/// ```
public struct GoldenTensors: Sendable {
    /// A name or type that the file does not have.
    public enum Missing: Error, Equatable {
        /// No tensor of this name.
        case tensor(String)
        /// The tensor exists with another type.
        case type(name: String, found: String, wanted: String)
        /// The file's header does not fit its bytes.
        case header(String)
    }

    private struct Entry: Decodable, Sendable {
        var dtype: String
        var shape: [Int]
        var offsets: [Int]

        enum CodingKeys: String, CodingKey {
            case dtype, shape
            case offsets = "data_offsets"
        }
    }

    /// The header's values: tensors, and under one reserved key a dictionary of strings.
    private enum HeaderValue: Decodable {
        case entry(Entry)
        case metadata

        init(from decoder: any Decoder) throws {
            let isMetadata = decoder.codingPath.last?.stringValue == "__metadata__"
            self = isMetadata ? .metadata : .entry(try Entry(from: decoder))
        }
    }

    private let entries: [String: Entry]
    private let bytes: Data

    /// Reads the file at `path` below `Tests/Golden`.
    public init(_ path: String) throws { try self.init(contentsOf: Golden.url(path)) }

    /// Reads the safetensors file at `url`.
    public init(contentsOf url: URL) throws {
        let file = try Data(contentsOf: url)
        guard file.count >= 8 else { throw Missing.header(url.path()) }
        let length = file.withUnsafeBytes { Int(UInt64(littleEndian: $0.loadUnaligned(as: UInt64.self))) }
        guard length >= 0, length <= file.count - 8 else { throw Missing.header(url.path()) }
        let header = try JSONDecoder().decode([String: HeaderValue].self, from: file[8..<8 + length])
        bytes = file.dropFirst(8 + length)
        entries = header.compactMapValues { value in
            if case .entry(let entry) = value { entry } else { nil }
        }
        for (name, entry) in entries {
            guard entry.offsets.count == 2, entry.offsets[0] >= 0, entry.offsets[0] <= entry.offsets[1],
                entry.offsets[1] <= bytes.count
            else { throw Missing.header(name) }
        }
    }

    /// The names in the file, sorted.
    public var names: [String] { entries.keys.sorted() }

    /// Whether the file has a tensor of this name.
    public func has(_ name: String) -> Bool { entries[name] != nil }

    /// The sizes of a tensor, outermost first.
    public func shape(_ name: String) throws -> [Int] { try entry(name).shape }

    /// The elements of an F32 or BF16 tensor, row-major; bfloat16 widens exactly.
    public func float32(_ name: String) throws -> [Float] {
        if try entry(name).dtype == "BF16" {
            return try elements(name, "BF16", UInt16.self).map { Float(bitPattern: UInt32($0) << 16) }
        }
        return try elements(name, "F32", UInt32.self).map(Float.init(bitPattern:))
    }

    /// The elements of an I32 tensor, row-major.
    public func int32(_ name: String) throws -> [Int32] { try elements(name, "I32", Int32.self) }

    /// The elements of an I64 tensor, row-major.
    public func int64(_ name: String) throws -> [Int64] { try elements(name, "I64", Int64.self) }

    private func entry(_ name: String) throws -> Entry {
        guard let entry = entries[name] else { throw Missing.tensor(name) }
        return entry
    }

    private func elements<Element: FixedWidthInteger & BitwiseCopyable>(
        _ name: String, _ dtype: String, _ type: Element.Type
    ) throws -> [Element] {
        let entry = try entry(name)
        guard entry.dtype == dtype else { throw Missing.type(name: name, found: entry.dtype, wanted: dtype) }
        let width = MemoryLayout<Element>.size
        guard entry.offsets[1] - entry.offsets[0] == entry.shape.reduce(width, *) else { throw Missing.header(name) }
        return bytes.withUnsafeBytes { raw in
            stride(from: entry.offsets[0], to: entry.offsets[1], by: width).map {
                Element(littleEndian: raw.loadUnaligned(fromByteOffset: $0, as: Element.self))
            }
        }
    }
}
