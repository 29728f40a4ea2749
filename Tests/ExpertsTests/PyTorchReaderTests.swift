// The archive reader: torch's own files, our own, damaged ones and hostile ones.

import Experts
import Foundation
import Support
import Testing

/// A JSON value of a golden file, where tensors and tuples are marked objects.
private struct Expectation: Decodable {
    var value: ArchiveValue

    private struct Tensor: Decodable {
        var dtype: String
        var shape: [Int]
        var data: [Double]

        enum CodingKeys: String, CodingKey { case dtype, shape, data }

        init(from decoder: any Decoder) throws {
            let fields = try decoder.container(keyedBy: CodingKeys.self)
            dtype = try fields.decode(String.self, forKey: .dtype)
            shape = try fields.decode([Int].self, forKey: .shape)
            if let flags = try? fields.decode([Bool].self, forKey: .data) {
                data = flags.map { $0 ? 1 : 0 }
            } else {
                data = try fields.decode([Double].self, forKey: .data)
            }
        }
    }

    private struct Name: CodingKey {
        var stringValue: String
        var intValue: Int? { nil }
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    init(from decoder: any Decoder) throws {
        if var list = try? decoder.unkeyedContainer() {
            var members: [ArchiveValue] = []
            while !list.isAtEnd { members.append(try list.decode(Expectation.self).value) }
            value = .list(members)
            return
        }
        if let object = try? decoder.container(keyedBy: Name.self) {
            if object.contains(Name(stringValue: "__tensor__")) {
                let tensor = try Tensor(from: decoder)
                // Compared as numbers: the test reads the type by itself.
                value = .list([
                    .string(tensor.dtype), .list(tensor.shape.map(ArchiveValue.int)),
                    .list(tensor.data.map(ArchiveValue.float)),
                ])
            } else if object.contains(Name(stringValue: "__tuple__")) {
                let members = try object.decode(Expectation.self, forKey: Name(stringValue: "__tuple__")).value
                guard case .list(let members) = members else { throw CocoaError(.coderReadCorrupt) }
                value = .tuple(members)
            } else {
                value = .dictionary(
                    try object.allKeys.map {
                        .init($0.stringValue, try object.decode(Expectation.self, forKey: $0).value)
                    })
            }
            return
        }
        let single = try decoder.singleValueContainer()
        if single.decodeNil() {
            value = .null
        } else if let flag = try? single.decode(Bool.self) {
            value = .bool(flag)
        } else if let number = try? single.decode(Int.self) {
            value = .int(number)
        } else if let number = try? single.decode(Double.self) {
            value = .float(number)
        } else {
            value = .string(try single.decode(String.self))
        }
    }
}

/// The value with tensors as in an `Expectation`, and keys in order.
private func plain(_ value: ArchiveValue) -> ArchiveValue {
    switch value {
    case .tensor(let tensor):
        let name =
            switch tensor.elements {
            case .bool: "bool"
            case .uint8: "uint8"
            case .int8: "int8"
            case .int16: "int16"
            case .int32, .made: "int32"
            case .int64: "int64"
            case .float16: "float16"
            case .bfloat16: "bfloat16"
            case .float32: "float32"
            case .float64: "float64"
            }
        return .list([
            .string(name), .list(tensor.shape.map(ArchiveValue.int)),
            .list(tensor.elements.doubles.map(ArchiveValue.float)),
        ])
    case .list(let members): return .list(members.map(plain))
    case .tuple(let members): return .tuple(members.map(plain))
    case .dictionary(let entries):
        return .dictionary(entries.map { .init($0.key, plain($0.value)) }.sorted { $0.key < $1.key })
    default: return value
    }
}

@Suite struct PyTorchReaderTests {
    private static let goldenFiles =
        ["tiny_identity", "redundant_8_to_12", "padded_rows", "window_12_passes"].flatMap { folder in
            ["stat", "stat_v1", "per_pass", "per_token"].map { "\(folder)/\($0)" }
        }
        + ["dtypes", "views", "plain", "shapes", "placement", "stat_with_rate", "top_level_tensor", "many_counts"]
        .map { "pt_misc/\($0)" }

    @Test("torch's files read as their JSON says", arguments: goldenFiles)
    func golden(file: String) throws {
        let value = try PyTorchArchive.read(Array(Golden.data("recorder/\(file).pt")))
        let expected = try Golden.decode(Expectation.self, "recorder/\(file).json").value
        #expect(plain(value) == plain(expected))
        // And what was read can be written and read again.
        #expect(try PyTorchArchive.read(PyTorchArchive.bytes(value, root: "r")) == value)
    }

    @Test("whole numbers of every width, and each type's extremes, survive")
    func elements() throws {
        let all: [ArchiveTensor.Elements] = [
            .bool([true, false, true]), .uint8([0, 255, 7]), .int8([-128, 127, 0]), .int16([.min, .max, -1]),
            .int32([.min, .max, -1]), .int64([.min, .max, -1]), .float16(bits: [0x3C00, 0x8001, 0x7C00]),
            .bfloat16(bits: [0x3F80, 0x8000, 0x7F80]), .float32([1.5, -0.25, .infinity]),
            .float64([.pi, -0.1, .leastNonzeroMagnitude]),
        ]
        let value = ArchiveValue.list(all.map { .tensor(ArchiveTensor(shape: [3], elements: $0)) } + [.int(.min)])
        #expect(try PyTorchArchive.read(PyTorchArchive.bytes(value, root: "deep/root")) == value)
        #expect(all[6].doubles == [1, -0x1p-24, .infinity] && all[7].doubles == [1, 0, .infinity])
        #expect(all[0].integers == [1, 0, 1] && all[8].integers == nil)
    }

    @Test("a file cut off anywhere is an error", arguments: ["tiny_identity/per_token", "pt_misc/views"])
    func truncated(file: String) throws {
        let whole = Array(try Golden.data("recorder/\(file).pt"))
        for length in 0..<whole.count {
            #expect(throws: ArchiveError.self) { try PyTorchArchive.read(Array(whole.prefix(length))) }
        }
    }

    @Test("flipped bytes are an error or a value, never a trap", arguments: 0..<8 as Range<UInt64>)
    func flipped(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let whole = Array(try Golden.data("recorder/pt_misc/\(seed.isMultiple(of: 2) ? "views" : "plain").pt"))
        for _ in 0..<300 {
            var bytes = whole
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = .random(in: 0...255, using: &random)
            }
            _ = try? PyTorchArchive.read(bytes)
        }
    }

    @Test("damaged pickles in whole archives are an error or a value, never a trap", arguments: 0..<8 as Range<UInt64>)
    func fuzzedPickle(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let golden = try StoredEntries(Array(Golden.data("recorder/pt_misc/views.pt")))
        let pickle = try golden.data("data.pkl")
        for _ in 0..<300 {
            var bytes = pickle
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = .random(in: 0...255, using: &random)
            }
            _ = try? PyTorchArchive.read(ForeignZip.archive(pickle: bytes, storages: [try golden.data("data/0")]))
        }
        for length in 0..<pickle.count {
            #expect(throws: ArchiveError.self) {
                try PyTorchArchive.read(ForeignZip.archive(pickle: Array(pickle.prefix(length))))
            }
        }
    }

    private static let rebuild = "ctorch._utils\n_rebuild_tensor_v2\n"

    /// `_rebuild_tensor_v2` on a view of 6 int32.
    private static func view(_ offset: UInt32, _ shape: [UInt32], _ strides: [UInt32]) -> [UInt8] {
        func numbers(_ values: [UInt32]) -> [UInt8] { [40] + values.flatMap { [0x4A] + bytes($0) } + [0x74] }
        func bytes(_ value: UInt32) -> [UInt8] { withUnsafeBytes(of: value.littleEndian, Array.init) }
        return Array(
            "\u{2}\(rebuild)((X\u{7}\0\0\0storagectorch\nIntStorage\nX\u{1}\0\0\00X\u{3}\0\0\0cpuK\u{6}tQ".utf8)
            + [0x4A] + bytes(offset) + numbers(shape) + numbers(strides) + [0x89]
            + Array("ccollections\nOrderedDict\n)RtR.".utf8)
    }

    @Test("views inside their storage are read")
    func views() throws {
        let storage = SafetensorsWriter.littleEndian([0, 1, 2, 3, 4, 5] as [Int32])
        func read(_ view: [UInt8]) throws -> ArchiveValue {
            try PyTorchArchive.read(ForeignZip.archive(pickle: [0x80] + view, storages: [storage]))
        }
        func tensor(_ shape: [Int], _ elements: [Int32]) -> ArchiveValue {
            .tensor(ArchiveTensor(shape: shape, elements: .int32(elements)))
        }
        #expect(try read(Self.view(1, [2, 2], [3, 1])) == tensor([2, 2], [1, 2, 4, 5]))
        #expect(try read(Self.view(0, [3, 2], [1, 3])) == tensor([3, 2], [0, 3, 1, 4, 2, 5]))
        #expect(try read(Self.view(5, [2, 2], [0, 0])) == tensor([2, 2], [5, 5, 5, 5]))
        #expect(try read(Self.view(5, [1, 1], [.max / 2, .max / 2])) == tensor([1, 1], [5]))
        #expect(try read(Self.view(99, [0, 7], [1, 1])) == tensor([0, 7], []))
        #expect(try read(Self.view(2, [], [])) == tensor([], [2]))
    }

    @Test(
        "tensors beyond their storage, and absurd ones, are refused",
        arguments: [
            (1, [2, 3], [3, 1]), (6, [1], [1]), (0, [7], [1]), (0, [2], [6]), (0, [1 << 30, 1 << 30], [0, 0]),
            (0, [1 << 30], [0]), (.max, [1], [1]), (0, [.max], [1]), (0, [1, 2], [1]), (0, [2], [.max]),
        ] as [(UInt32, [UInt32], [UInt32])])
    func absurd(offset: UInt32, shape: [UInt32], strides: [UInt32]) {
        let pickle = [0x80] + Self.view(offset, shape, strides)
        #expect(throws: ArchiveError.self) {
            try PyTorchArchive.read(ForeignZip.archive(pickle: pickle, storages: [[UInt8](repeating: 0, count: 24)]))
        }
    }

    @Test(
        "hostile pickles are refused",
        arguments: [
            "cos\nsystem\nX\u{2}\0\0\0ls\u{85}R.", "c__builtin__\neval\n)R.", "cbuiltins\ngetattr\n.",
            "ctorch.storage\n_load_from_bytes\n)R.", "ctorch._utils\n_rebuild_tensor\n)R.", "ctorch\nload\n.",
            "ctorch\nIntStorage\n.", "ctorch\nIntStorage\n)R.", "ccollections\nOrderedDict\nK\u{1}\u{85}R.",
            "(dp0\n.", "iposix\nsystem\n.", "N.N", "", ".", "(", "t.", "((t.", "a.", "]]a", "Ne.", "}Nu.", "}(Nu.",
            "}K\u{1}K\u{2}s.", "h\u{1}.", "Q.", "NQ.", "R.", ")R.", "K\u{1})R.", "0.", "2.", "b.",
            "]q\0h\0a.", "X\u{FF}\u{FF}\u{FF}\u{FF}.", "ctorch", "\u{8A}\u{9}\0\0\0\0\0\0\0\0\0.",
        ])
    func hostile(pickle: String) {
        let bytes = [0x80, 2] + pickle.unicodeScalars.map { UInt8(truncatingIfNeeded: $0.value) }
        #expect(throws: ArchiveError.self) { try PyTorchArchive.read(ForeignZip.archive(pickle: bytes)) }
    }

    @Test("deep and many-fold containers are refused")
    func bombs() {
        let deep =
            [UInt8](repeating: UInt8(ascii: "]"), count: 100_000) + [UInt8](repeating: UInt8(ascii: "a"), count: 99_999)
        #expect(throws: ArchiveError.self) {
            try PyTorchArchive.read(ForeignZip.archive(pickle: [0x80, 2] + deep + Array(".".utf8)))
        }
        // Each list holds the one before it ten times: 10^30 values in a few hundred bytes.
        var bomb: [UInt8] = [0x80, 2] + Array("(]q\0".utf8)
        for level in 1...30 {
            bomb += Array("](".utf8)
            for _ in 0..<10 { bomb += [UInt8(ascii: "h"), UInt8(level - 1)] }
            bomb += [UInt8(ascii: "e"), UInt8(ascii: "q"), UInt8(level)]
        }
        #expect(throws: ArchiveError.self) {
            try PyTorchArchive.read(ForeignZip.archive(pickle: bomb + Array("t.".utf8)))
        }
    }

    @Test("a tensor that is shared counts each time")
    func sharedTensors() throws {
        // 512 KiB out of one element; a small archive's tensors may take 1 MiB and a little.
        let view = [0x80] + Self.view(0, [1 << 17], [0]).dropLast() + Array("q\0".utf8)
        func read(_ end: [UInt8]) throws -> ArchiveValue {
            try PyTorchArchive.read(
                ForeignZip.archive(pickle: view + end, storages: [[UInt8](repeating: 0, count: 24)]))
        }
        guard case .tuple(let two) = try read(Array("h\0".utf8) + [0x86, 0x2E]) else {
            Issue.record("no tuple")
            return
        }
        #expect(two.count == 2 && two[0] == two[1])
        #expect(throws: ArchiveError.refused("it uses its tensors far too often")) {
            try read(Array("h\0h\0".utf8) + [0x87, 0x2E])
        }
    }

    @Test("a list that is shared shows what was appended later, as in Python")
    func sharing() throws {
        let pickle: [UInt8] = [0x80, 2] + Array("(]q\0h\0K\u{5}at.".utf8)
        let shared = ArchiveValue.list([.int(5)])
        #expect(try PyTorchArchive.read(ForeignZip.archive(pickle: pickle)) == .tuple([shared, shared]))
    }

    @Test("Zip64 and comments are read; compressed, encrypted and overlapping entries are refused")
    func zip() throws {
        let pickle: [UInt8] = [0x80, 2, 0x4B, 7, 0x2E]
        var zip = ForeignZip()
        zip.isWide = true
        zip.add("r/data.pkl", pickle)
        #expect(try PyTorchArchive.read(zip.file()) == .int(7))
        zip = ForeignZip()
        zip.add("r/data.pkl", pickle)
        #expect(try PyTorchArchive.read(zip.file(comment: "PK\u{5}\u{6} by hand")) == .int(7))

        for change in [\ForeignZip.method, \.flags] {
            var odd = ForeignZip()
            odd[keyPath: change] = 1
            odd.add("r/data.pkl", pickle)
            #expect(throws: ArchiveError.self) { try PyTorchArchive.read(odd.file()) }
        }
        zip.add("r/data.pkl", pickle)
        #expect(throws: ArchiveError.damaged("two entries are named r/data.pkl")) {
            try PyTorchArchive.read(zip.file())
        }
        zip = ForeignZip()
        zip.add("r/data.pkl", pickle)
        zip.repeatLast(as: "s/data.pkl")
        #expect(throws: ArchiveError.self) { try PyTorchArchive.read(zip.file()) }
        zip = ForeignZip()
        zip.add("r/data.pkl", pickle)
        zip.add("r/byteorder", Array("big".utf8))
        #expect(throws: ArchiveError.self) { try PyTorchArchive.read(zip.file()) }
        #expect(throws: ArchiveError.self) { try PyTorchArchive.read(ForeignZip().file()) }
        #expect(throws: ArchiveError.self) { try PyTorchArchive.read(pickle) }
    }
}

/// ZIP files as other writers make them, and as nobody should.
private struct ForeignZip {
    /// Whether sizes are in Zip64 fields.
    var isWide = false
    var method = 0 as UInt16
    var flags = 0 as UInt16
    private var bytes: [UInt8] = []
    private var directory: [UInt8] = []
    private var count = 0
    private var last: (offset: Int, data: [UInt8]) = (0, [])

    /// An archive of a pickle and its storages.
    static func archive(pickle: [UInt8], storages: [[UInt8]] = []) -> [UInt8] {
        var zip = ForeignZip()
        zip.add("r/data.pkl", pickle)
        for (key, storage) in storages.enumerated() { zip.add("r/data/\(key)", storage) }
        return zip.file()
    }

    mutating func add(_ name: String, _ data: [UInt8]) {
        last = (bytes.count, data)
        bytes += little(0x0403_4B50 as UInt32) + fields(data) + little(UInt16(name.utf8.count)) + little(0 as UInt16)
        bytes += Array(name.utf8) + data
        list(name)
    }

    /// A second name for the last entry's header.
    mutating func repeatLast(as name: String) { list(name) }

    private mutating func list(_ name: String) {
        let (offset, data) = last
        directory += little(0x0201_4B50 as UInt32) + little(45 as UInt16) + fields(data)
        directory +=
            little(UInt16(name.utf8.count)) + little(UInt16(isWide ? 28 : 0)) + [UInt8](repeating: 0, count: 10)
        directory += little(isWide ? .max : UInt32(offset)) + Array(name.utf8)
        if isWide {
            directory += little(1 as UInt16) + little(24 as UInt16)
            directory += little(UInt64(data.count)) + little(UInt64(data.count)) + little(UInt64(offset))
        }
        count += 1
    }

    private func fields(_ data: [UInt8]) -> [UInt8] {
        let size = isWide ? UInt32.max : UInt32(data.count)
        return little(45 as UInt16) + little(flags) + little(method) + little(0 as UInt32) + little(crc(data))
            + little(size) + little(size)
    }

    func file(comment: String = "") -> [UInt8] {
        var end = bytes + directory
        if isWide {
            let wide = end.count
            end += little(0x0606_4B50 as UInt32) + little(44 as UInt64) + little(45 as UInt16) + little(45 as UInt16)
            end += little(0 as UInt64) + little(UInt64(count)) + little(UInt64(count))
            end += little(UInt64(directory.count)) + little(UInt64(bytes.count))
            end += little(0x0706_4B50 as UInt32) + little(0 as UInt32) + little(UInt64(wide)) + little(1 as UInt32)
        }
        end += little(0x0605_4B50 as UInt32) + little(0 as UInt32)
        end += little(isWide ? .max : UInt16(count)) + little(isWide ? .max : UInt16(count))
        end += little(isWide ? .max : UInt32(directory.count)) + little(isWide ? .max : UInt32(bytes.count))
        return end + little(UInt16(comment.utf8.count)) + Array(comment.utf8)
    }

    private func little(_ value: some FixedWidthInteger) -> [UInt8] {
        withUnsafeBytes(of: value.littleEndian, Array.init)
    }

    private func crc(_ data: [UInt8]) -> UInt32 {
        ~data.reduce(~0 as UInt32) { value, byte in
            (0..<8).reduce(value ^ UInt32(byte)) { value, _ in value & 1 == 1 ? value >> 1 ^ 0xEDB8_8320 : value >> 1 }
        }
    }
}
