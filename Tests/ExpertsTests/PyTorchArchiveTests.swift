// The archive writer against files made by torch, read by an independent reader.

import Experts
import Foundation
import Support
import Testing

@Suite struct PyTorchArchiveTests {
    private static let goldenFiles =
        ["tiny_identity", "redundant_8_to_12", "padded_rows", "window_12_passes"].flatMap { folder in
            ["stat", "stat_v1", "per_pass", "per_token"].map { "\(folder)/\($0).pt" }
        } + ["shapes", "placement", "stat_with_rate", "top_level_tensor", "many_counts"].map { "pt_misc/\($0).pt" }

    @Test("writing a golden file's value gives torch's bytes back: pickle and storages", arguments: goldenFiles)
    func goldenBytes(file: String) throws {
        let golden = try StoredEntries(Array(Golden.data("recorder/\(file)")))
        let value = try golden.value()
        let ours = try StoredEntries(PyTorchArchive.bytes(value, root: golden.root()))
        #expect(try ours.value() == value)
        let wanted = golden.entries.filter { !$0.name.hasSuffix("serialization_id") }
        #expect(ours.entries.map(\.name) == wanted.map(\.name))
        // Records of per_token files share one list object, which the pickle shows and equal values do not.
        let sharesObjects = file.contains("per_token")
        for (entry, reference) in zip(ours.entries, wanted)
        where !(sharesObjects && entry.name.hasSuffix("data.pkl")) {
            #expect(entry.data == reference.data, "\(entry.name)")
        }
    }

    @Test("every entry's data begin at a multiple of 64", arguments: ["a", "name", String(repeating: "x", count: 61)])
    func alignment(root: String) throws {
        let tensor = ArchiveTensor(shape: [5], elements: .int64([1, -2, 3, .min, .max]))
        let entries = try StoredEntries(PyTorchArchive.bytes(.list([.tensor(tensor), .tensor(tensor)]), root: root))
        #expect(entries.entries.allSatisfy { $0.offset % 64 == 0 })
        #expect(entries.entries.count == 7)
    }

    @Test("the contract's dictionary takes 238 and 48 bytes")
    func contractSizes() throws {
        let value = ArchiveValue.dictionary([
            .init("rank", .int(0)),
            .init("logical_count", .tensor(ArchiveTensor(shape: [2, 2, 3], elements: .int32(Array(0..<12))))),
            .init("average_utilization_rate_over_window", .null),
        ])
        let entries = try StoredEntries(PyTorchArchive.bytes(value, root: "dump"))
        #expect(try entries.data("data.pkl").count == 238)
        #expect(try entries.data("data/0").count == 48)
        #expect(try entries.data("version") == Array("3\n".utf8))
        #expect(try entries.data("byteorder") == Array("little".utf8))
    }

    @Test(
        "whole numbers survive at every width",
        arguments: [
            0, 255, 256, 65535, 65536, -1, -128, -129, Int(Int32.max), Int(Int32.max) + 1, Int(Int32.min),
            Int(Int32.min) - 1, 5_000_000_000, -5_000_000_000, 1 << 39, (1 << 39) - 1, -(1 << 39), .max, .min,
        ])
    func integers(value: Int) throws {
        #expect(try StoredEntries(PyTorchArchive.bytes(.int(value), root: "r")).value() == .int(value))
    }

    @Test(
        "lists and dictionaries survive beyond a batch, and strings beyond a short memo",
        arguments: [0, 1, 2, 1000, 1001])
    func containers(count: Int) throws {
        let value = ArchiveValue.dictionary([
            .init("numbers", .list((0..<count).map(ArchiveValue.int))),
            .init("names", .dictionary((0..<count).map { .init("key \($0)", .string("value \($0 % 300) 你")) })),
            .init("rest", .list([.null, .bool(true), .bool(false), .float(-0.1), .float(.infinity), .string("")])),
        ])
        #expect(try StoredEntries(PyTorchArchive.bytes(value, root: "r")).value() == value)
    }

    @Test("equal values make equal files")
    func deterministic() throws {
        let value = ArchiveValue.tensor(ArchiveTensor(shape: [], elements: .float32([1.5])))
        #expect(try PyTorchArchive.bytes(value, root: "r") == PyTorchArchive.bytes(value, root: "r"))
    }
}
