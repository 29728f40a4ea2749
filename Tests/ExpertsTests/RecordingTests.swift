// Recordings in files: every format gives back what was written, foreign files load, damaged ones are errors.

import Experts
import Foundation
import Support
import Testing

/// A random recording of the given kind.
private func randomRecording(_ mode: RecorderMode, seed: UInt64) throws -> Recording {
    var random = SeededGenerator(seed: seed)
    let (layers, experts) = (Int.random(in: 1...4, using: &random), Int.random(in: 2...6, using: &random))
    let redundant = Int.random(in: 0...3, using: &random)
    let topK = Int.random(in: 1...min(3, experts), using: &random)
    let slots = experts + redundant
    func placement(_ epoch: Int) throws -> Placement {
        let rows = (0..<layers).map { _ in
            (Array(0..<experts) + (0..<redundant).map { _ in .random(in: 0..<experts, using: &random) })
                .shuffled(using: &random)
        }
        return try Placement(rows: rows, logicalExperts: experts, ranks: slots.isMultiple(of: 2) ? 2 : 1, epoch: epoch)
    }
    let capacity: RecorderSettings.Capacity = seed.isMultiple(of: 2) ? .unbounded : .passes(5)
    let recorder = Recorder(
        layers: layers, logicalExperts: experts, physicalExperts: slots, topK: topK,
        settings: .init(mode: mode, capacity: capacity))
    recorder.start()
    let placements = try (0..<3).map(placement)
    let detail = PassDetail(layers: layers, topK: topK, capacity: 9)
    let passes = [0, 1, 3, 12][Int(seed % 4)]
    for number in 0..<passes {
        let tokens = Int.random(in: 0...9, using: &random)
        var counts = PassCounts(placement: placements[number * 3 / max(1, passes)])
        counts.begin(
            pass: number + 1, mode: [.extend, .decode, .mixed][number % 3], tokens: tokens, placement: counts.placement)
        counts.withMutableCounts { counts in
            for index in counts.indices { counts[index] = .random(in: 0...9, using: &random) }
        }
        detail.begin(tokens: tokens)
        for token in 0..<tokens {
            [Int32.random(in: 0...99, using: &random)].withUnsafeBufferPointer {
                detail.append(request: "quote \" slash \\ line\n 你 \(token % 3)", start: token, ids: $0)
            }
        }
        for layer in 0..<layers where layer > 0 || layers == 1 {
            let row = detail.row(layer: layer)
            for index in row.indices { row[index] = .random(in: 0..<Int32(slots), using: &random) }
        }
        recorder.append(counts, detail: detail)
    }
    return Recording(
        recorder.dump(), model: seed == 3 ? nil : "model \"\(seed)\"", averageUtilization: seed == 4 ? 1 : nil)
}

@Suite struct RecordingTests {
    @Test(
        "our own format and JSON give back everything",
        arguments: RecorderMode.allCases, 0..<12 as Range<UInt64>)
    func lossless(mode: RecorderMode, seed: UInt64) throws {
        let recording = try randomRecording(mode, seed: seed)
        #expect(try Recording(bytes: recording.bytes(.safetensors)) == recording)
        #expect(try Recording(bytes: recording.bytes(.json)) == recording)
    }

    @Test(
        ".pt gives back everything but the slots of stat's pairs", arguments: RecorderMode.allCases,
        0..<12 as Range<UInt64>)
    func archives(mode: RecorderMode, seed: UInt64) throws {
        let whole = try randomRecording(mode, seed: seed)
        for order in [Recording.RowOrder.stored, .time] {
            let bytes = try whole.bytes(.pt, order: order)
            var recording = whole
            if !mode.isDetailed { recording.counts = .logical(recording.logicalCounts()) }
            #expect(try Recording(bytes: bytes) == recording)

            // Readers that know nothing of us see the dictionary alone.
            guard recording.rows > 0 || !mode.isDetailed else { continue }
            let read = try Recording(bytes: PyTorchArchive.bytes(PyTorchArchive.read(bytes), root: "r"))
            let isRound = order == .stored && !mode.isDetailed
            #expect(read.rows == (isRound ? recording.window?.capacity : nil) ?? recording.rows)
            // They know only the last placement, so of single passes only the slots' counts are exact.
            if mode.isDetailed {
                #expect(read.counts == recording.counts)
            } else {
                #expect(read.totals == recording.load { _ in true })
            }
            #expect(read.tokens.map(\.ids) == recording.tokens.map(\.ids))
        }
    }

    private static let golden = ["tiny_identity", "redundant_8_to_12", "padded_rows", "window_12_passes"]

    @Test(
        "other engines' files load, and convert there and back", arguments: golden,
        ["stat", "stat_v1", "per_pass", "per_token"])
    func foreign(folder: String, file: String) throws {
        let recording = try Recording.read(Golden.url("recorder/\(folder)/\(file).pt").path())
        let expected = try Golden.decode(Expected.self, "recorder/\(folder)/expected.json").logical
        #expect(recording.logicalCounts() == expected.flatMap { $0.flatMap { $0 } })
        for format in [Recording.Format.safetensors, .json] {
            let again = try Recording(bytes: recording.bytes(format))
            #expect(again == recording)
            #expect(again.archive() == recording.archive())
        }
        if file == "per_token" {
            #expect(
                recording.mode == .perToken
                    && recording.topK == ["redundant_8_to_12": 3, "padded_rows": 4][folder] ?? 2)
        }
    }

    @Test("each extension names its format, and reading goes by content")
    func files() throws {
        let folder = try TemporaryFolder()
        let recording = try randomRecording(.perToken, seed: 2)
        for format in Recording.Format.allCases {
            let path = folder.path(of: "a/b/x.\(format.rawValue)")
            try recording.write(path)
            let read = try Recording.read(path)
            #expect(read.counts == recording.counts && read.tokens.map(\.experts) == recording.tokens.map(\.experts))
            try folder.write(Data(contentsOf: URL(filePath: path)), to: "renamed")
            #expect(try Recording.read(folder.path(of: "renamed")) == read)
        }
        #expect(throws: RecordingError.unknownFormat(path: "x.csv")) { try recording.write("x.csv") }
        #expect(throws: RecordingError.self) { try recording.write("/dev/null/x.pt") }
        #expect(throws: RecordingError.self) { try Recording.read(folder.path) }
        #expect(throws: RecordingError.self) { try Recording.read("/dev/zero") }
        #expect(throws: RecordingError.self) { try Recording.read(folder.path(of: "missing.pt")) }
    }

    @Test("dumps have the names that tools look for", arguments: RecorderMode.allCases)
    func dumpNames(mode: RecorderMode) throws {
        let folder = try TemporaryFolder()
        let name = "expert_distribution_recorder_1747654321.25" + (mode.isDetailed ? "_0" : "")
        let recording = try randomRecording(mode, seed: 2)
        let path = try recording.writeDump(folder: folder.path, time: 1_747_654_321.25)
        #expect(path == folder.path + name + ".pt" || path == folder.path + "/" + name + ".pt")
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == [name + ".pt"])
        #expect(try StoredEntries(Array(Data(contentsOf: URL(filePath: path)))).root() == name)
    }

    @Test("a placement, a model and other files are refused with a reason")
    func notRecordings() throws {
        let placement = try Golden.data("recorder/pt_misc/placement.pt")
        let texts = [
            "{}", "[]", "{\"logical_count\": 3}", "{\"logical_count\": [[1, 2], [3]]}", "{\"records\": 1}", "", "{",
            "x",
        ]
        let model = try SafetensorsWriter().file()
        for bytes in [Array(placement), model] + texts.map({ Array($0.utf8) }) {
            #expect(throws: RecordingError.self) { try Recording(bytes: bytes) }
        }
        let bare = try Recording(bytes: Array("{\"logical_count\": [[1, 2], [3, 4]]}".utf8))
        #expect(bare.rows == 1 && bare.layers == 2 && bare.totals == [1, 2, 3, 4])
    }

    @Test("whole numbers may be floats; fractions are named, with what they serve for")
    func realCounts() throws {
        let read = try Recording(bytes: Array("{\"logical_count\": [[1.0, 2e0], [3, 4]]}".utf8))
        #expect(read.totals == [1, 2, 3, 4])
        let tensor = ArchiveTensor(shape: [1, 2], elements: .float32([5, 6]))
        let archive = try PyTorchArchive.bytes(.dictionary([.init("logical_count", .tensor(tensor))]), root: "r")
        #expect(try Recording(bytes: archive).totals == [5, 6])
        #expect(
            throws: RecordingError.malformed(
                found: "1.5 in logical_count",
                expected: "a table of whole numbers; real ones serve planning, analysis and advice alone")
        ) {
            try Recording(bytes: Array("{\"logical_count\": [[1, 1.5]]}".utf8))
        }
        for text in ["[[1e30, 1]]", "[[null, 1]]", "[[\"1\", 1]]", "[[4294967296, 1]]"] {
            #expect(throws: RecordingError.self) { try Recording(bytes: Array("{\"logical_count\": \(text)}".utf8)) }
        }
    }

    @Test("a file cut off anywhere is an error", arguments: Recording.Format.allCases, RecorderMode.allCases)
    func truncated(format: Recording.Format, mode: RecorderMode) throws {
        let whole = try randomRecording(mode, seed: 1).bytes(format)
        // A JSON text is whole without its last newline.
        let step = max(1, whole.count / 3000)
        for length in stride(from: 0, to: whole.count - 1, by: step) {
            #expect(throws: RecordingError.self) { try Recording(bytes: Array(whole.prefix(length))) }
        }
    }

    @Test(
        "flipped bytes are an error or a recording, never a trap",
        arguments: Recording.Format.allCases, 0..<6 as Range<UInt64>)
    func flipped(format: Recording.Format, seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let mode = RecorderMode.allCases[Int(seed % 4)]
        let whole = try randomRecording(mode, seed: seed + 1).bytes(format)
        for _ in 0..<300 {
            var bytes = whole
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                let text = Array("0123456789-[]{},\"".utf8)
                let place = Int.random(in: 0..<bytes.count, using: &random)
                bytes[place] =
                    Bool.random(using: &random)
                    ? text.randomElement(using: &random) ?? 0 : .random(in: 0...255, using: &random)
            }
            guard let recording = try? Recording(bytes: bytes) else { continue }
            // Whatever was read can be used.
            _ = recording.logicalCounts()
            _ = recording.archive()
            _ = try recording.bytes(.safetensors)
        }
    }

    @Test("prefill and decode can be told apart")
    func byMode() throws {
        let recording = try randomRecording(.stat, seed: 6)
        let modes = [ForwardMode.extend, .decode, .mixed]
        let parts = try modes.map { mode in try #require(recording.load { $0.mode == mode }) }
        let sum = parts[0].indices.map { index in parts.reduce(0) { $0 + $1[index] } }
        #expect(sum == recording.totals && parts[0] != parts[1])
    }
}

/// The part of a golden case that is compared.
private struct Expected: Decodable {
    var logical: [[[Int32]]]
    enum CodingKeys: String, CodingKey { case logical = "logical_count_per_pass" }
}
