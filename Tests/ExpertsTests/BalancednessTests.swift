// Balancedness: contract and golden values, and the windows.

import Experts
import Foundation
import Support
import Testing

@Suite struct BalancednessTests {
    @Test(
        "the contract's rates hold",
        arguments: [
            ([10, 10, 10, 10], 1), ([40, 0, 0, 0], 0.25000018), ([0, 0, 0, 0], 1), ([30, 10, 20, 20], 0.66666675),
        ] as [([Int], Float)])
    func contractRates(counts: [Int], rate: Float) {
        #expect(abs(Balancedness.rate(ofLayer: counts, ranks: 4) - rate) <= 1e-7)
    }

    private struct CountCase: Decodable {
        var index: Int
        var layers: Int
        var experts: Int
        var steps: Int
        var ranks: Int

        enum CodingKeys: String, CodingKey {
            case index, steps
            case layers = "num_layers"
            case experts = "num_logical_experts"
            case ranks = "num_gpu"
        }
    }

    @Test("folded counts and rates equal the golden ones")
    func goldenCounts() throws {
        let cases = try Golden.decode([CountCase].self, "recorder/counts.json")
        let tensors = try GoldenTensors("recorder/counts.safetensors")
        for test in cases {
            let name = "c\(test.index)"
            let placement = try Placement(
                physicalToLogical: tensors.int64("\(name).physical_to_logical").map { Int32($0) },
                layers: test.layers, logicalExperts: test.experts, ranks: test.ranks)
            let physical = try tensors.int32("\(name).physical_count")
            let logical = try tensors.int32("\(name).logical_count")
            let rates = try tensors.float32("\(name).utilization")
            let size = physical.count / test.steps
            for step in 0..<test.steps {
                let counts = Array(physical[step * size..<(step + 1) * size])
                let width = logical.count / test.steps
                #expect(placement.logicalCounts(counts) == Array(logical[step * width..<(step + 1) * width]))
                for layer in 0..<test.layers {
                    let row = counts[layer * placement.physicalExperts..<(layer + 1) * placement.physicalExperts]
                    let rate = Balancedness.rate(ofLayer: row, ranks: test.ranks)
                    #expect(abs(rate - rates[step * test.layers + layer]) <= 1e-6)
                }
            }
        }
    }

    @Test("a window forgets its oldest values", arguments: [1, 9, 10, 999, 1000, 1001, 2500])
    func window(passes: Int) {
        var window = BalancednessWindow(layers: 1)
        #expect(window.mean(last: 10) == nil)
        for pass in 0..<passes { window.append([Float(pass)]) }
        #expect(window.count == min(passes, 1000))
        for last in [10, 100, 1000] {
            let used = (0..<passes).suffix(last)
            let mean = Float(Double(used.reduce(0, +)) / Double(used.count))
            #expect(window.mean(last: last) == mean)
        }
        window.removeAll()
        #expect(window.mean(last: 1000) == nil)
    }

    @Test("each layer has its own mean, and the newer of two windows comes last")
    func layers() {
        var window = BalancednessWindow(layers: 3)
        var newer = window
        for pass in 0..<700 { window.append([Float(pass), 1, 0.5]) }
        for pass in 700..<1100 { newer.append([Float(pass), 1, 0.25]) }
        window.append(contentsOf: newer)
        #expect(window.count == 1000)
        #expect(window.layerMeans(last: 10) == [1094.5, 1, 0.25])
        #expect(window.layerMeans(last: 1000) == [599.5, 1, 0.4])
        #expect(window.mean(last: 10) == Float((1094.5 + 1 + 0.25) / 3))
    }
}
