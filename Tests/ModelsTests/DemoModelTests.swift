import Compute
import DemoModel
import Foundation
import Support
import Testing

@testable import Models

@Suite struct DemoModelTests {
    struct Case: Decodable, CustomTestStringConvertible {
        var id: String
        var prompt_ids: [Int32]
        var greedy_ids: [Int32]
        var prefill_expert_counts: [[Int32]]
        var last_logits_top10: [[Double]]
        var testDescription: String { id }
    }
    struct File: Decodable { var goldens: [Case] }

    static let cases = (try? Golden.decode(File.self, "demo-model/goldens.json").goldens) ?? []

    @Test("the reference file has its twelve prompts") func complete() { #expect(Self.cases.count == 12) }

    @Test("the embedded model gives the reference's tokens and expert counts", arguments: cases)
    func goldens(_ golden: Case) throws {
        let runner = try TestRunner(.demo, threads: 2)
        defer { runner.backend.stop() }
        let last = try #require(runner.logits(golden.prompt_ids, from: 0).last)
        #expect(runner.counts == golden.prefill_expert_counts.flatMap { $0 })
        for pair in golden.last_logits_top10 {
            #expect(abs(Double(last[Int(pair[0])]) - pair[1]) < 1e-3)
        }
        #expect(runner.greedy(golden.prompt_ids, count: golden.greedy_ids.count) == golden.greedy_ids)
    }
}
