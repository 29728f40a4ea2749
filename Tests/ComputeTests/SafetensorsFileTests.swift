import Foundation
import Support
import Testing

@testable import Compute

/// The file's name in messages.
private let name = "weights.safetensors"

/// Reads `bytes`, which end with the call: the result must not be used for data.
private func read(_ bytes: [UInt8]) -> Result<SafetensorsFile, ModelFileError> {
    bytes.withUnsafeBytes { bytes in
        do throws(ModelFileError) {
            return .success(try SafetensorsFile(MappedBytes(permanent: bytes, name: name)))
        } catch {
            return .failure(error)
        }
    }
}

private func failure(_ bytes: [UInt8]) -> ModelFileError? {
    guard case .failure(let error) = read(bytes) else { return nil }
    return error
}

/// A header that should be refused, over 16 bytes of data.
struct BadHeader: CustomTestStringConvertible, Sendable {
    var testDescription: String
    var header: String
    var item: String? = "t"
    var found: String
    var expected: String
}

@Suite struct SafetensorsFileTests {
    private static func small() -> SafetensorsWriter {
        var writer = SafetensorsWriter()
        writer.add("a", dtype: "F32", shape: [2, 3], bytes: SafetensorsWriter.float32([1, 2, 3, 4, 5, 6]))
        writer.add("b", dtype: "BF16", shape: [4], bytes: SafetensorsWriter.bfloat16([1, -1, 0.5, 0]))
        writer.add("none", dtype: "F16", shape: [0, 7], bytes: [])
        writer.add("one", dtype: "I64", shape: [], bytes: SafetensorsWriter.littleEndian([Int64(-9)]))
        return writer
    }

    @Test("a good file gives its tensors", arguments: [0, 1, 7])
    func good(padding: Int) throws {
        let file = try SafetensorsFile(mapped(Self.small().file(padding: padding)))
        #expect(file.tensors.keys.sorted() == ["a", "b", "none", "one"])
        let a = try #require(file.tensors["a"])
        #expect(a.name == "a" && a.dtype == .float32 && a.shape == [2, 3] && a.count == 6 && a.byteCount == 24)
        #expect(a.withBytes { Array($0) } == SafetensorsWriter.float32([1, 2, 3, 4, 5, 6]))
        let none = try #require(file.tensors["none"])
        #expect(none.count == 0 && none.withBytes { $0.isEmpty })
        let one = try #require(file.tensors["one"])
        #expect(one.shape == [] && one.count == 1)
        #expect(one.withBytes { $0.loadUnaligned(as: Int64.self) } == -9)
    }

    @Test("a tensor keeps its file's bytes alive") func lifetime() throws {
        let tensor = try #require(SafetensorsFile(mapped(Self.small().file())).tensors["b"])
        #expect(tensor.withBytes { Array($0) } == SafetensorsWriter.bfloat16([1, -1, 0.5, 0]))
    }

    @Test("metadata, holes between tensors and a file without tensors are fine") func odd() throws {
        let header = #"{"__metadata__": {"format": "pt"}, "t": {"dtype": "U8", "shape": [2], "data_offsets": [5, 7]}}"#
        let file = try SafetensorsFile(mapped(SafetensorsWriter.file(header: header, data: Array(0..<10))))
        #expect(file.tensors["t"]?.withBytes { Array($0) } == [5, 6])
        #expect(file.tensors.count == 1)
        #expect(try read(SafetensorsWriter.file(header: "{}")).get().tensors.isEmpty)
    }

    @Test("a file cut anywhere is refused with what is missing") func truncated() throws {
        let whole = try Self.small().file()
        let dataStart = whole.count - 40
        for length in 0..<whole.count {
            let error = try #require(failure(Array(whole.prefix(length))), "\(length) bytes")
            #expect(error.file == name)
            switch length {
            case ..<8:
                #expect(error.found == "\(length) bytes")
                #expect(error.expected == "at least 8 bytes of a safetensors file")
            case ..<dataStart:
                #expect(error.item == "header")
                #expect(error.found == "a length of \(dataStart - 8) bytes in a file of \(length)")
            default:
                #expect(error.item == "a" || error.item == "b" || error.item == "one")
                let expected = "within the \(length - dataStart) bytes of data (is the file truncated?)"
                #expect(error.expected.contains(expected))
            }
        }
    }

    @Test(
        "a header length that cannot be is refused",
        arguments: [3, 100 << 20 + 1, UInt64(Int64.max), UInt64(Int64.max) + 1, UInt64.max - 7, UInt64.max] as [UInt64])
    func headerLength(length: UInt64) {
        let bytes = SafetensorsWriter.file(header: "{}", length: length)
        #expect(
            failure(bytes)
                == ModelFileError(
                    file: name, item: "header", found: "a length of \(length) bytes in a file of 10",
                    expected: "a header that fits the file and has at most 104857600 bytes"))
    }

    @Test(
        "a header that is no JSON object is refused",
        arguments: ["", " ", "{", "[]", "7", "null", "\"text\"", "{\"a\": }", "{\"a\" 1}", "\u{0}\u{0}", "{}}"])
    func notJSON(header: String) {
        let error = failure(SafetensorsWriter.file(header: header))
        #expect(error?.item == "header")
        #expect(error?.expected == "an object of {dtype, shape, data_offsets}")
    }

    @Test("a header that is not UTF-8 is refused") func notUTF8() {
        let bytes = SafetensorsWriter.littleEndian([UInt64(4)]) + [0x7B, 0xFF, 0xFE, 0x7D]
        #expect(failure(bytes)?.item == "header")
    }

    private static let object = "an object of {dtype, shape, data_offsets}"
    static let badHeaders: [BadHeader] = {
        func entry(_ dtype: String = "\"U8\"", _ shape: String = "[16]", _ offsets: String = "[0, 16]") -> String {
            "{\"t\": {\"dtype\": \(dtype), \"shape\": \(shape), \"data_offsets\": \(offsets)}}"
        }
        func offsets(_ text: String, _ found: String? = nil) -> BadHeader {
            BadHeader(
                testDescription: "offsets \(text)", header: entry("\"U8\"", "[16]", text),
                found: "data_offsets \(found ?? text)",
                expected: "[begin, end] within the 16 bytes of data (is the file truncated?)")
        }
        func shape(_ text: String) -> BadHeader {
            BadHeader(
                testDescription: "shape \(text)", header: entry("\"F32\"", text), found: "shape \(text)",
                expected: "extents that fit memory")
        }
        let max = Int.max
        return [
            offsets("[8, 4]"), offsets("[-8, 8]"), offsets("[0, 17]"), offsets("[17, 17]"), offsets("[]"),
            offsets("[0]"), offsets("[0, 8, 16]"), offsets("[\(-max - 1), \(max)]"), offsets("[0, \(max)]"),
            shape("[-1]"), shape("[-4, -1]"), shape("[\(max), \(max)]"), shape("[\(max)]"),
            shape("[4294967296, 4294967296]"), shape("[\(-max - 1)]"),
            BadHeader(
                testDescription: "too few bytes", header: entry("\"F32\"", "[5]"), found: "16 bytes of data",
                expected: "20 bytes for F32 [5]"),
            BadHeader(
                testDescription: "too many bytes", header: entry("\"F64\"", "[1]"), found: "16 bytes of data",
                expected: "8 bytes for F64 [1]"),
            BadHeader(
                testDescription: "bytes for no elements", header: entry("\"U8\"", "[0, \(max), \(max)]"),
                found: "16 bytes of data", expected: "0 bytes for U8 [0, \(max), \(max)]"),
            BadHeader(
                testDescription: "unknown dtype", header: entry("\"F8_E5M2\""), found: "dtype F8_E5M2",
                expected: "one of F32, BF16, F16, F8_E4M3, F64, I64, I32, I16, I8, U8, BOOL"),
            BadHeader(
                testDescription: "dtype of another type", header: entry("7"), item: "t.dtype",
                found: "a value of another type", expected: "a string"),
            BadHeader(
                testDescription: "shape of another type", header: entry("\"U8\"", "16"), item: "t.shape",
                found: "a value of another type", expected: "a list"),
            BadHeader(
                testDescription: "extent of another type", header: entry("\"U8\"", "[2, \"x\"]"), item: "t.shape[1]",
                found: "a value of another type", expected: "a whole number"),
            BadHeader(
                testDescription: "null", header: entry("\"U8\"", "null"), item: "t.shape", found: "null",
                expected: "a list"),
            BadHeader(
                testDescription: "entry of another type", header: "{\"t\": 5}", found: "a value of another type",
                expected: "an object"),
            BadHeader(
                testDescription: "no offsets", header: "{\"t\": {\"dtype\": \"U8\", \"shape\": [16]}}",
                found: "no data_offsets", expected: object),
            BadHeader(
                testDescription: "overlap",
                header: """
                    {"s": {"dtype": "U8", "shape": [9], "data_offsets": [0, 9]},
                    "t": {"dtype": "U8", "shape": [8], "data_offsets": [8, 16]}}
                    """,
                found: "data_offsets 8..<16, which overlap s", expected: "data that starts at 9 or later"),
        ]
    }()

    @Test("a bad entry is refused with its name, what is there and what should be", arguments: badHeaders)
    func badEntry(bad: BadHeader) {
        let bytes = SafetensorsWriter.file(header: bad.header, data: [UInt8](repeating: 0, count: 16))
        #expect(failure(bytes) == ModelFileError(file: name, item: bad.item, found: bad.found, expected: bad.expected))
    }

    @Test("numbers that no integer holds are refused", arguments: ["1e30", "2.5", "99999999999999999999"])
    func numbers(number: String) {
        let header = "{\"t\": {\"dtype\": \"U8\", \"shape\": [\(number)], \"data_offsets\": [0, 0]}}"
        let error = failure(SafetensorsWriter.file(header: header))
        #expect(
            error
                == ModelFileError(
                    file: name, item: "header", found: "invalid JSON, or a number out of range",
                    expected: "an object of {dtype, shape, data_offsets}"))
    }

    @Test("twenty thousand damaged files give tensors or a one-line error, and no tensor leaves its file")
    func mutations() throws {
        let valid = try Self.small().file()
        var generator = SeededGenerator(seed: 61)
        let interesting = Array("{}[]\",:-+.0123456789eEFIUB nut\\".utf8) + [0, 0x7F, 0x80, 0xFF]
        var accepted = 0
        for round in 0..<20_000 {
            var bytes = valid
            for _ in 0...Int.random(in: 0..<4, using: &generator) {
                let place = bytes.isEmpty ? 0 : Int.random(in: 0..<bytes.count, using: &generator)
                switch bytes.isEmpty ? 3 : Int.random(in: 0..<7, using: &generator) {
                case 0, 1, 2: bytes[place] = interesting.randomElement(using: &generator) ?? 0
                case 3: bytes.insert(interesting.randomElement(using: &generator) ?? 0, at: place)
                case 4: bytes.remove(at: place)
                case 5: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
                default: bytes.removeLast(Int.random(in: 0...bytes.count, using: &generator) / 4)
                }
            }
            let isSound = bytes.withUnsafeBytes { raw in
                do throws(ModelFileError) {
                    let file = try SafetensorsFile(MappedBytes(permanent: raw, name: name))
                    accepted += 1
                    return file.tensors.values.allSatisfy { tensor in
                        tensor.withBytes { $0.count == tensor.byteCount && $0.reduce(0) { $0 &+ Int($1) } >= 0 }
                    }
                } catch {
                    return error.file == name && !error.description.contains("\n") && error.description.count < 1000
                }
            }
            guard isSound else {
                Issue.record("round \(round): \(bytes)")
                return
            }
        }
        #expect(accepted > 100 && accepted < 19_000, "\(accepted) of the damaged files were readable still")
    }
}

@Suite struct MappedBytesTests {
    @Test("a file's bytes are mapped, none of an empty one") func good() throws {
        let folder = try TemporaryFolder()
        try folder.write([1, 2, 3], to: "three")
        try folder.write([], to: "empty")
        let three = try MappedBytes(path: folder.path(of: "three"))
        #expect(Array(three.bytes) == [1, 2, 3] && three.name == folder.path(of: "three"))
        let empty = try MappedBytes(path: folder.path(of: "empty"))
        #expect(empty.bytes.isEmpty)
        #expect(
            throws: ModelFileError(
                file: empty.name, found: "0 bytes", expected: "at least 8 bytes of a safetensors file")
        ) { try SafetensorsFile(empty) }
    }

    @Test("a file is known by more than its path, length and age") func identity() throws {
        let folder = try TemporaryFolder()
        let path = folder.path(of: "file")
        func identity(_ byte: UInt8, options: Data.WritingOptions) throws -> FileIdentity {
            try Data([byte]).write(to: URL(fileURLWithPath: path), options: options)
            let old = Date(timeIntervalSince1970: 1_000_000)
            try FileManager.default.setAttributes([.modificationDate: old], ofItemAtPath: path)
            return try #require(try MappedBytes(path: path).identity)
        }
        let first = try identity(1, options: [])
        #expect(try MappedBytes(path: path, usesHugePages: true).identity == first)
        #expect(try identity(2, options: .atomic) != first)
        #expect(MappedBytes(permanent: UnsafeRawBufferPointer(start: nil, count: 0), name: "").identity == nil)
    }

    @Test("no addresses are reserved for more bytes than there are", arguments: [0, 1, 2 << 20, 4 << 20, 8 << 20])
    func endless(less: Int) {
        #expect(MappedBytes.reserve(Int.max - less) == nil)
    }

    @Test("what is no readable file is refused with the reason", .timeLimit(.minutes(1))) func bad() throws {
        let folder = try TemporaryFolder()
        let missing = folder.path(of: "missing")
        #expect(throws: FileError(path: missing, reason: "No such file or directory")) {
            try MappedBytes(path: missing)
        }
        #expect(throws: FileError(path: folder.path, reason: "not a regular file")) {
            try MappedBytes(path: folder.path)
        }
        // A pipe that nobody writes to must not be waited for.
        let pipe = folder.path(of: "pipe")
        try #require(mkfifo(pipe, 0o600) == 0)
        #expect(throws: FileError(path: pipe, reason: "not a regular file")) { try MappedBytes(path: pipe) }
    }
}
