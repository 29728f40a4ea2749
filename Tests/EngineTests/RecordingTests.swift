// What the engine records, in every mode, and what it says of single requests.

import DemoModel
import Experts
import Foundation
import Models
import Support
import Testing

@testable import Engine

@Suite struct RecordingTests {
    private func engine(_ settings: RecorderSettings?, folder: String = "/tmp") async throws -> Engine {
        var configuration = EngineConfiguration()
        configuration.recorder = settings
        configuration.recorderDirectory = folder
        configuration.chunkedPrefillSize = 5
        return try await Engine.load(.demo, configuration: configuration, threads: 1)
    }

    private func request(_ id: String, _ ids: [Int32], count: Int, expertsFrom start: Int? = nil) -> GenerationRequest {
        var sampling = SamplingParameters()
        sampling.temperature = 0
        sampling.maxNewTokens = count
        sampling.ignoreEOS = true
        var request = GenerationRequest(id: id, promptIDs: ids, sampling: sampling)
        request.routedExpertsStart = start
        return request
    }

    @Test("mode stat records from the start, without being asked")
    func onByDefault() async throws {
        let engine = try await engine(RecorderSettings())
        _ = await collect(try await engine.submit(request("a", [1, 2, 3], count: 4)))
        let status = try #require(await engine.recordingStatus())
        #expect(status.isRecording && status.since != nil && status.lastDump == nil)
        #expect(status.snapshot.recorded == PassTally(passes: 4, tokens: 6))
        #expect(status.snapshot.totals.reduce(0, +) == 192)  // 6 tokens, 4 experts, 8 layers
        #expect(status.passSeconds > 0 && status.cost > 0 && status.cost < 1)
        await engine.shutdown(deadline: .seconds(5))
    }

    @Test("prefill and decode are told apart")
    func forwardModes() async throws {
        let engine = try await engine(RecorderSettings())
        _ = await collect(try await engine.submit(request("a", [1, 2, 3, 4, 5, 6, 7], count: 3)))
        let snapshot = try #require(await engine.recorded())
        #expect(snapshot.totals(of: .extend).reduce(0, +) == 224)
        #expect(snapshot.totals(of: .decode).reduce(0, +) == 64)
        await engine.shutdown(deadline: .seconds(5))
    }

    @Test("the detailed modes wait for a start, and hold every pass", arguments: [RecorderMode.perPass, .perToken])
    func details(mode: RecorderMode) async throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "details-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: folder) }
        let engine = try await engine(RecorderSettings(mode: mode), folder: folder.path)
        _ = await collect(try await engine.submit(request("before", [9], count: 2)))
        #expect(try #require(await engine.recordingStatus()).snapshot.recorded.passes == 0)
        try await engine.startRecording()
        _ = await collect(try await engine.submit(request("a", [1, 2, 3, 4, 5, 6, 7], count: 3)))
        try await engine.stopRecording()
        let path = try await engine.dumpRecord()
        #expect(path.hasPrefix(folder.path + "/expert_distribution_recorder_") && path.hasSuffix("_0.pt"))
        #expect(try #require(await engine.recordingStatus()).lastDump == path)
        let recording = try Recording.read(path)
        let total = recording.logicalCounts().reduce(into: 0) { $0 += Int($1) }
        #expect(total == 9 * 4 * 8)
        await engine.shutdown(deadline: .seconds(5))
    }

    @Test("a dump is a file in the configured folder, and resets")
    func dump() async throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "dump-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: folder) }
        let engine = try await engine(RecorderSettings(), folder: folder.path)
        try await engine.startRecording()
        _ = await collect(try await engine.submit(request("a", [1, 2, 3], count: 4)))
        let before = Date()
        let path = try await engine.dumpRecord()
        #expect(path.hasPrefix(folder.path + "/expert_distribution_recorder_"))
        #expect(path.hasSuffix(".pt"))
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).count == 1)
        let status = try #require(await engine.recordingStatus())
        #expect(status.snapshot.passes == 0 && status.passSeconds == 0)
        #expect(status.snapshot.balancednessTotals[.decode]?.passes == 3)
        #expect(try #require(status.since) >= before)
        await engine.shutdown(deadline: .seconds(5))
    }

    @Test("a dump that cannot be written loses nothing")
    func failedDump() async throws {
        let engine = try await engine(RecorderSettings(), folder: "/dev/null/nowhere")
        _ = await collect(try await engine.submit(request("a", [1, 2, 3], count: 4)))
        let before = try #require(await engine.recordingStatus())
        await #expect(throws: EngineError.self) { _ = try await engine.dumpRecord() }
        let after = try #require(await engine.recordingStatus())
        #expect(after.snapshot.totals == before.snapshot.totals && after.snapshot.recorded == before.snapshot.recorded)
        #expect(after.since == before.since && after.passSeconds == before.passSeconds)
        await engine.shutdown(deadline: .seconds(5))
    }

    @Test("a recorder that is off, or a folder that cannot be made, is a clear error")
    func recorderErrors() async throws {
        let off = try await engine(nil)
        await #expect(throws: EngineError.recordingDisabled) { try await off.startRecording() }
        await #expect(throws: EngineError.recordingDisabled) { try await off.stopRecording() }
        await #expect(throws: EngineError.recordingDisabled) { _ = try await off.dumpRecord() }
        #expect(await off.recordingStatus() == nil)
        await off.shutdown(deadline: .zero)
        let broken = try await engine(RecorderSettings(), folder: "/dev/null/nowhere")
        await #expect {
            _ = try await broken.dumpRecord()
        } throws: { error in
            guard case EngineError.dumpFailed(let path, _) = error else { return false }
            return path == "/dev/null/nowhere"
        }
        await broken.shutdown(deadline: .zero)
    }

    @Test("where the experts are changes neither tokens nor logical counts, only which slots are busy")
    func placements() async throws {
        // Two slots more than experts; the last layer's experts are in reverse order.
        var rows = [[Int]](repeating: Array(0..<16) + [3, 3], count: 7)
        rows.append(Array((0..<16).reversed()) + [0, 1])
        let map = "{\"physical_to_logical_map\": \(rows)}"
        let prompt = [Int32](40..<75)
        var outputs: [Output] = []
        var totals: [[Int64]] = []
        for value in ["trivial", map] {
            var configuration = EngineConfiguration()
            configuration.placement = try PlacementSource.read(value)
            let engine = try await Engine.load(.demo, configuration: configuration, threads: 2)
            outputs.append(await collect(try await engine.submit(request("a", prompt, count: 9, expertsFrom: 0))))
            let snapshot = try #require(await engine.recorded())
            totals.append(snapshot.totals)
            #expect(snapshot.physicalExperts == (value == "trivial" ? 16 : 18))
            await engine.shutdown(deadline: .seconds(5))
        }
        #expect(outputs[0].ids == outputs[1].ids && outputs[0].routedExperts == outputs[1].routedExperts)
        #expect(totals[0] == totals[1])
    }

    @Test("a placement of another model, or of too few slots, is refused")
    func misplaced() async throws {
        for (value, redundant) in [("{\"physical_to_logical_map\": [[0, 1]]}", nil), ("trivial", -1)]
            as [(String, Int?)]
        {
            var configuration = EngineConfiguration()
            configuration.placement = try PlacementSource.read(value)
            configuration.redundantExperts = redundant
            await #expect(throws: ExpertFileError.self) {
                _ = try await Engine.load(.demo, configuration: configuration, threads: 1)
            }
        }
    }

    @Test("a request's experts add up to the recorded counts, with the recorder on or off")
    func routedExperts() async throws {
        let prompt: [Int32] = [11, 12, 13, 14, 15, 16, 17]
        var answers: [RoutedExperts] = []
        for settings in [RecorderSettings(), nil] {
            let engine = try await engine(settings)
            // A batch mate that wants nothing.
            async let mate = collect(try await engine.submit(request("mate", [5, 6], count: 2)))
            let output = await collect(try await engine.submit(request("a", prompt, count: 5, expertsFrom: 0)))
            _ = try await mate
            let experts = try #require(output.routedExperts)
            let shape: [Int] = [experts.tokens, experts.layers, experts.topK]
            #expect(shape == [11, 8, 4] as [Int])
            #expect(experts.ids.count == 11 * 8 * 4)
            answers.append(experts)
            if settings != nil {
                try await engine.startRecording()
                _ = await collect(try await engine.submit(request("alone", prompt, count: 5)))
                var counts = [Int64](repeating: 0, count: 8 * 16)
                for (index, id) in experts.ids.enumerated() { counts[index / 4 % 8 * 16 + Int(id)] += 1 }
                #expect(try #require(await engine.recorded()).totals == counts)
            }
            let late = await collect(try await engine.submit(request("b", prompt, count: 5, expertsFrom: 7)))
            #expect(late.routedExperts?.ids == Array(experts.ids.suffix(4 * 8 * 4)))
            await #expect(throws: EngineError.self) {
                _ = try await engine.submit(request("c", prompt, count: 5, expertsFrom: 8))
            }
            await engine.shutdown(deadline: .seconds(5))
        }
        #expect(answers[0] == answers[1])
    }
}
