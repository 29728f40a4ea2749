import Compute
import DemoModel
import Foundation
import Support
import Testing

@testable import Models

@Suite struct DemoModelTests {
    struct Case: Decodable, CustomTestStringConvertible {
        var id: String
        var prompt: [Int32]
        var greedy: [Int32]
        var prefillCounts: [[Int32]]
        var lastLogits: [[Double]]
        var testDescription: String { id }

        enum CodingKeys: String, CodingKey {
            case id
            case prompt = "prompt_ids"
            case greedy = "greedy_ids"
            case prefillCounts = "prefill_expert_counts"
            case lastLogits = "last_logits_top10"
        }
    }
    struct File: Decodable { var goldens: [Case] }

    static let cases = (try? Golden.decode(File.self, "demo-model/goldens.json").goldens) ?? []

    @Test("the reference file has its twelve prompts") func complete() { #expect(Self.cases.count == 12) }

    @Test("the embedded model gives the reference's tokens and expert counts", arguments: cases)
    func goldens(_ golden: Case) throws {
        let runner = try TestRunner(.demo, threads: 2)
        defer { runner.backend.stop() }
        let last = try #require(runner.logits(golden.prompt, from: 0).last)
        #expect(runner.counts == golden.prefillCounts.flatMap { $0 })
        for pair in golden.lastLogits {
            #expect(abs(Double(last[Int(pair[0])]) - pair[1]) < 1e-3)
        }
        #expect(runner.greedy(golden.prompt, count: golden.greedy.count) == golden.greedy)
    }
}
