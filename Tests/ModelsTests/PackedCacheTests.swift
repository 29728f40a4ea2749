// Packed weights on disk: the same logits from them, and every file that is wrong is noticed and remade.

import Compute
import Foundation
import Support
import Testing

@testable import Models

@Suite struct PackedCacheTests {
    /// A copy of a golden model, and a folder for its packed weights.
    private struct Case {
        let model: TemporaryFolder
        let folder = try? TemporaryFolder()

        init(_ name: String = "deepseek-v3-tiny") throws {
            model = try TemporaryFolder(copying: Golden.url("models/\(name)"))
        }

        /// Folder of the packed weights, which does not exist at first.
        var directory: String { (folder?.path ?? "/no/such") + "/deep/er" }

        /// Its weights.
        var shard: URL { URL(fileURLWithPath: model.path).appending(path: "model.safetensors") }

        /// Writes the weights with another sign of the last, in place or as another file.
        func change(_ options: Data.WritingOptions = []) throws {
            var bytes = try Data(contentsOf: shard)
            bytes[bytes.endIndex - 1] ^= 0x80
            try bytes.write(to: shard, options: options)
        }

        /// Loads the model: logits of a prompt, and what became of the packed weights. Calls `mapped` when the checkpoint is
        /// open, and `packed` with the name of the file that is being written when all matrices are in it.
        func load(
            _ precision: WeightPrecision = .stored, mapped: () throws -> Void = {},
            packed: @escaping (_ partial: String) throws -> Void = { _ in }
        ) throws -> (logits: [[Float]], outcome: PackedCache.Outcome) {
            let files = try ModelFiles(directory: model.path)
            let checkpoint = try Checkpoint(files)
            let survey = WeightSurvey(try ModelConfiguration(files), of: checkpoint, precision: precision)
            try mapped()
            var outcome: PackedCache.Outcome?
            let runner = try TestRunner(
                files, weights: checkpoint, threads: 2, precision: precision, limit: 64
            ) { backend in
                let cache = try #require(
                    PackedCache(
                        directory: directory, files: files, weights: checkpoint, survey: survey,
                        precision: precision, backend: backend))
                return (
                    cache,
                    {
                        #expect(throws: Never.self) { try packed(cache.path + ".partial") }
                        _ = cache.finish()
                        outcome = cache.outcome
                    }
                )
            }
            defer { runner.backend.stop() }
            return (runner.logits(Array(1...40), from: 0), try #require(outcome))
        }

        /// The one file of packed weights.
        func file() throws -> URL {
            let names = try FileManager.default.contentsOfDirectory(atPath: directory)
            #expect(names.count == 1 && names[0].hasSuffix(".packed"), "\(names)")
            return URL(fileURLWithPath: directory).appending(path: try #require(names.first))
        }
    }

    @Test(
        "the second start maps what the first wrote, and computes the same bits",
        arguments: goldenModels, WeightPrecision.allCases)
    func maps(model: String, precision: WeightPrecision) throws {
        let test = try Case(model)
        let first = try test.load(precision)
        #expect(first.outcome == .written(why: "no such file"))
        let size = try Data(contentsOf: test.file()).count
        let second = try test.load(precision)
        #expect(second.outcome == .mapped && second.logits == first.logits)
        #expect(try Data(contentsOf: test.file()).count == size && size % 4096 == 0)
    }

    @Test("each precision has a file of its own")
    func precisions() throws {
        let test = try Case()
        for precision in WeightPrecision.allCases { _ = try test.load(precision) }
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: test.directory).count == WeightPrecision.allCases.count)
        for precision in WeightPrecision.allCases { #expect(try test.load(precision).outcome == .mapped) }
    }

    @Test("weights of too many sizes to be compressed are used without a file, which says why")
    func misfit() throws {
        let test = try Case()
        let compresses = try #require(CPUBackend(threads: 1)).device.instructionSet == "avx512bf16"
        var bytes = try Data(contentsOf: test.shard)
        var generator = SeededGenerator(seed: 7)
        let header = bytes.prefix(8).enumerated().reduce(0) { $0 | Int($1.element) << (8 * $1.offset) } + 8
        // High bytes of any number below infinity.
        for index in stride(from: bytes.startIndex + header + 1, to: bytes.endIndex, by: 2) {
            bytes[index] = UInt8.random(in: 0..<0x7F, using: &generator)
        }
        try bytes.write(to: test.shard)
        for precision in [WeightPrecision.stored, .bfloat16] {
            switch try test.load(precision).outcome {
            case .unused(let why): #expect(compresses && why.contains("too many sizes"))
            case let other: #expect(!compresses && other == .written(why: "no such file"))
            }
        }
        let left = try FileManager.default.contentsOfDirectory(atPath: test.directory)
        #expect(left.count == (compresses ? 0 : 2))
    }

    @Test(
        "a file that was cut off, lengthened, emptied or overwritten is remade",
        arguments: ["cut", "header", "longer", "empty", "other", "folder"])
    func broken(how: String) throws {
        let test = try Case()
        let first = try test.load()
        let file = try test.file()
        var bytes = try Data(contentsOf: file)
        let size = bytes.count
        switch how {
        case "cut": bytes.removeLast(4096)
        case "header": bytes = bytes.prefix(100)
        case "longer": bytes.append(0)
        case "empty": bytes = Data()
        default: bytes[bytes.startIndex + 40] ^= 1
        }
        if how == "folder" {
            try FileManager.default.removeItem(at: file)
            try FileManager.default.createDirectory(at: file, withIntermediateDirectories: false)
        } else {
            try bytes.write(to: file)
        }
        let second = try test.load()
        #expect(second.logits == first.logits)
        guard how != "folder" else {
            guard case .unused = second.outcome else {
                Issue.record("\(second.outcome)")
                return
            }
            return
        }
        guard case .written(let why) = second.outcome else {
            Issue.record("\(second.outcome)")
            return
        }
        let cause = ["cut", "longer"].contains(how) ? "bytes, not \(size)" : "it holds other weights"
        #expect(how == "empty" || why.contains(cause), "\(why)")
        #expect(try test.load().outcome == .mapped)
    }

    @Test(
        "weights that change are packed again, be they as many and as old", arguments: [Data.WritingOptions.atomic, []])
    func stale(options: Data.WritingOptions) throws {
        let test = try Case()
        let old: [FileAttributeKey: Any] = [.modificationDate: Date(timeIntervalSince1970: 1_000_000)]
        try FileManager.default.setAttributes(old, ofItemAtPath: test.shard.path)
        let first = try test.load()
        try test.change(options)
        try FileManager.default.setAttributes(old, ofItemAtPath: test.shard.path)
        let second = try test.load()
        #expect(second.outcome == .written(why: "it holds other weights"))
        #expect(try test.load().logits == second.logits)
        #expect(first.logits.count == second.logits.count)
    }

    @Test("weights that are replaced after they were mapped are not taken for those that were packed")
    func replaced() throws {
        let test = try Case()
        let first = try test.load(mapped: { try test.change(.atomic) })
        #expect(first.outcome == .written(why: "no such file"))
        #expect(first.logits == (try Case().load().logits))
        #expect(try test.load().outcome == .written(why: "it holds other weights"))
        #expect(try test.load().outcome == .mapped)
    }

    @Test("a tensor that comes from another shard is packed again")
    func moved() throws {
        let test = try Case()
        let names = try Checkpoint(ModelFiles(directory: test.model.path)).tensors.keys.sorted()
        for shard in ["a", "b"] {
            try FileManager.default.copyItem(atPath: test.shard.path, toPath: test.model.path(of: shard))
        }
        try test.model.remove("model.safetensors")
        func load(other: String) throws -> PackedCache.Outcome {
            var map = Dictionary(uniqueKeysWithValues: names.map { ($0, "a") })
            map[other] = "b"
            try test.model.write(JSONEncoder().encode(["weight_map": map]), to: "model.safetensors.index.json")
            return try test.load().outcome
        }
        #expect(try load(other: names[0]) == .written(why: "no such file"))
        #expect(try load(other: names[1]) == .written(why: "it holds other weights"))
        #expect(try load(other: names[1]) == .mapped)
    }

    @Test("a config.json that says the same changes nothing")
    func configuration() throws {
        let test = try Case()
        _ = try test.load()
        let file = test.model.path(of: "config.json")
        try test.model.write(Data(contentsOf: URL(fileURLWithPath: file)) + [0x0A], to: "config.json")
        #expect(try test.load().outcome == .mapped)
    }

    @Test("the identity is written last, and only the file that was written gets the name")
    func complete() throws {
        let test = try Case()
        let replaced = try test.load(packed: { partial in
            let file = URL(fileURLWithPath: partial)
            #expect(try Data(contentsOf: file).prefix(4096) == Data(count: 4096))
            try Data("other".utf8).write(to: file, options: .atomic)
        })
        guard case .unused(let why) = replaced.outcome else {
            Issue.record("\(replaced.outcome)")
            return
        }
        #expect(why.hasSuffix(".partial was replaced while it was written"), "\(why)")
        let names = try FileManager.default.contentsOfDirectory(atPath: test.directory)
        #expect(names.count == 1 && names[0].hasSuffix(".partial"), "\(names)")
        let other = URL(fileURLWithPath: test.directory).appending(path: try #require(names.first))
        #expect(try Data(contentsOf: other) == Data("other".utf8))
        #expect(try test.load().logits == replaced.logits)
        #expect(try test.load().outcome == .mapped)
    }

    @Test("what a start that was cut short left behind is written over; what another process writes is left alone")
    func partial() throws {
        let test = try Case()
        let first = try test.load()
        let file = try test.file()
        let partial = file.appendingPathExtension("partial")
        try FileManager.default.moveItem(at: file, to: partial)
        #expect(try test.load().outcome == .written(why: "no such file"))
        #expect(try test.file() == file)
        try FileManager.default.removeItem(at: file)
        try Data("half".utf8).write(to: partial)
        let other = open(partial.path, O_RDWR)
        #expect(flock(other, LOCK_EX) == 0)
        let loaded = try test.load()
        close(other)
        guard case .unused(let why) = loaded.outcome else {
            Issue.record("\(loaded.outcome)")
            return
        }
        #expect(why.contains("busy") && loaded.logits == first.logits)
        #expect(try Data(contentsOf: partial) == Data("half".utf8))
    }

    @Test("a folder that cannot be made costs a reason, not the start")
    func unwritable() throws {
        let test = try Case()
        let blocked = URL(fileURLWithPath: try #require(test.folder).path).appending(path: "deep")
        try Data().write(to: blocked)
        let loaded = try test.load()
        guard case .unused(let why) = loaded.outcome else {
            Issue.record("\(loaded.outcome)")
            return
        }
        #expect(why.contains("Not a directory"), "\(why)")
        #expect(loaded.logits.count == 40)
    }

    @Test("an embedded model has none")
    func embedded() throws {
        let files = ModelFiles(
            embedded: "a",
            files: ["config.json": try MappedBytes(path: Golden.url("models/olmoe-tiny/config.json").path)])
        let folder = try ModelFiles(directory: Golden.url("models/olmoe-tiny").path)
        let checkpoint = try Checkpoint(folder)
        let survey = WeightSurvey(try ModelConfiguration(folder), of: checkpoint)
        let backend = try #require(CPUBackend(threads: 1))
        defer { backend.stop() }
        let cache = PackedCache(
            directory: "/no/such", files: files, weights: checkpoint, survey: survey, precision: .stored,
            backend: backend)
        #expect(cache == nil)
    }
}
