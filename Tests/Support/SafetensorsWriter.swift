// SafetensorsWriter: safetensors files for tests, good ones and damaged ones.
//
// Format: 8 bytes little-endian header length, the header (a JSON object: name -> dtype, shape, data_offsets), the data.

internal import Foundation

/// Collects tensors and lays them out as one safetensors file.
///
/// ```swift
/// var writer = SafetensorsWriter()
/// writer.add("weight", dtype: "F32", shape: [2, 1], bytes: SafetensorsWriter.float32([1, 2]))
/// let file: [UInt8] = try writer.file()
/// ```
public struct SafetensorsWriter: Sendable {
    /// A header entry and its data.
    private struct Entry: Encodable {
        var dtype: String
        var shape: [Int]
        var offsets: [Int]

        enum CodingKeys: String, CodingKey {
            case dtype, shape
            case offsets = "data_offsets"
        }
    }

    private var entries: [String: Entry] = [:]
    private var data: [UInt8] = []

    /// A file without tensors.
    public init() {}

    /// Appends a tensor. `bytes` are its elements, little-endian, row-major, and are not checked against `shape`;
    /// `offsets` are what the header says instead of their place.
    public mutating func add(_ name: String, dtype: String, shape: [Int], bytes: [UInt8], offsets: [Int]? = nil) {
        let place = [data.count, data.count + bytes.count]
        entries[name] = Entry(dtype: dtype, shape: shape, offsets: offsets ?? place)
        data += bytes
    }

    /// The file, its header padded with `padding` blanks.
    public func file(padding: Int = 0) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        let header = String(decoding: try encoder.encode(entries), as: UTF8.self)
        return Self.file(header: header + String(repeating: " ", count: padding), data: data)
    }

    /// A file with any header; `length` is what the first 8 bytes say instead of the header's length.
    public static func file(header: String, data: [UInt8] = [], length: UInt64? = nil) -> [UInt8] {
        let header = Array(header.utf8)
        return littleEndian([length ?? UInt64(header.count)]) + header + data
    }

    /// The bytes of F32 elements.
    public static func float32(_ values: [Float]) -> [UInt8] { littleEndian(values.map(\.bitPattern)) }

    /// The bytes of BF16 elements; bits that bfloat16 lacks are cut off.
    public static func bfloat16(_ values: [Float]) -> [UInt8] {
        littleEndian(values.map { UInt16($0.bitPattern >> 16) })
    }

    /// The bytes of F16 elements, rounded to the nearest.
    public static func float16(_ values: [Float]) -> [UInt8] { littleEndian(values.map { Float16($0).bitPattern }) }

    /// The bytes of integers.
    public static func littleEndian<Element: FixedWidthInteger>(_ values: [Element]) -> [UInt8] {
        values.flatMap { value in withUnsafeBytes(of: value.littleEndian, Array.init) }
    }
}
