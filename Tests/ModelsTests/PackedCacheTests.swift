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

        /// Loads the model: logits of a prompt, and what became of the packed weights.
        func load(_ precision: WeightPrecision = .stored) throws -> (logits: [[Float]], outcome: PackedCache.Outcome) {
            let files = try ModelFiles(directory: model.path)
            let checkpoint = try Checkpoint(files)
            let survey = WeightSurvey(try ModelConfiguration(files), of: checkpoint, precision: precision)
            var outcome: PackedCache.Outcome?
            let runner = try TestRunner(files, threads: 2, precision: precision, limit: 64) { backend in
                let cache = try #require(
                    try PackedCache(
                        directory: directory, files: files, weights: checkpoint, survey: survey,
                        precision: precision, backend: backend))
                return (
                    cache,
                    {
                        _ = cache.finish(); outcome = cache.outcome
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

    @Test("weights that change are packed again")
    func stale() throws {
        let test = try Case()
        let first = try test.load()
        let shard = URL(fileURLWithPath: test.model.path).appending(path: "model.safetensors")
        var bytes = try Data(contentsOf: shard)
        // A weight at the end of the file, its sign.
        bytes[bytes.endIndex - 1] ^= 0x80
        try bytes.write(to: shard)
        try FileManager.default.setAttributes(
            [.modificationDate: Date(timeIntervalSince1970: 1_000_000)], ofItemAtPath: shard.path)
        let second = try test.load()
        #expect(second.outcome == .written(why: "it holds other weights"))
        #expect(try test.load().logits == second.logits)
        #expect(first.logits.count == second.logits.count)
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
        let cache = try PackedCache(
            directory: "/no/such", files: files, weights: checkpoint, survey: survey, precision: .stored,
            backend: backend)
        #expect(cache == nil)
    }
}
