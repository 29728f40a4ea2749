// What quantization costs: the demo model's perplexity, measured; and that it saves the memory that it should.

import Compute
import DemoModel
import Foundation
import Support
import Testing

@testable import Models

@Suite struct QuantizedModelTests {
    /// Perplexity of the reference prompts and what follows them.
    private static func perplexity(_ precision: WeightPrecision) throws -> Double {
        let runner = try TestRunner(.demo, threads: 2, precision: precision)
        defer { runner.backend.stop() }
        var sum = 0.0
        var count = 0
        for golden in DemoModelTests.cases {
            let ids = golden.prompt + golden.greedy
            let logits = runner.logits(ids, from: 0)
            for position in 1..<ids.count {
                let row = logits[position - 1]
                let largest = Double(row.max() ?? 0)
                let total = row.reduce(0.0) { $0 + exp(Double($1) - largest) }
                sum += largest + log(total) - Double(row[Int(ids[position])])
                count += 1
            }
        }
        return exp(sum / Double(count))
    }

    @Test("perplexity rises by no more than 0.1 % with 8 bits, and 3 % with 4")
    func perplexity() throws {
        let exact = try Self.perplexity(.stored)
        let eight = try Self.perplexity(.int8) / exact
        let four = try Self.perplexity(.int4) / exact
        print("perplexity \(exact); int8 \(eight) times that, int4 \(four) times")
        #expect(eight <= 1.001)
        #expect(four <= 1.03)
    }

    @Test("8.5 bits for a weight of experts, or 4.5 for gates and ups, 16 before")
    func memory() throws {
        func bytes(_ precision: WeightPrecision) throws -> Int {
            let backend = try #require(CPUBackend(threads: 1))
            defer { backend.stop() }
            let loader = WeightLoader(try Checkpoint(.demo), backend: backend, precision: precision)
            _ = try ModelRegistry.load(try ModelConfiguration(.demo), weights: loader, positions: 16, file: "demo")
            return loader.expertBytes
        }
        let stored = try bytes(.stored)
        let eight = try bytes(.int8)
        let four = try bytes(.int4)
        #expect(eight * 16 * 2 == stored * 17 && four * 96 == stored * 35)
    }
}
