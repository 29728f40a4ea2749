// Quantized weights: how far from the originals, that the product is that of what they stand for, and equal bits in any batch.

import Foundation
import Support
import Testing

@testable import Compute

@Suite struct QuantizedKernelTests {
    @Test(
        "a quantized product is near the exact one, and a row's bits do not depend on the batch",
        arguments: instructionSets, [WeightPrecision.int8, .int4])
    func product(instructionSet: String, precision: WeightPrecision) throws {
        let backend = try makeBackend(instructionSet)
        var generator = SeededGenerator(seed: 71)
        for (inputs, outputs) in [(32, 1), (96, 33), (256, 100)] {
            let weight = try TestWeight(.bfloat16, shape: [outputs, inputs], using: &generator)
            let matrix = backend.makeMatrix([[TensorRows(weight.tensor)]], gated: false, precision: precision)
            #expect(matrix.precision == precision)
            let rows = 50
            // Numbers that bfloat16 holds, since that is what inputs are rounded to.
            let x = randomFloats(rows * inputs, using: &generator).map {
                Float(bitPattern: $0.bitPattern & 0xFFFF_0000)
            }
            let input = Buffer(x, width: inputs)
            let out = Buffer(rows: rows, width: outputs, repeating: .nan)
            backend.linear(input, count: rows, weight: matrix, bias: nil, out: out, accumulate: false)
            let whole = out.values(rows: rows)
            let kept = backend.kept(matrix)
            // In steps of the largest weight's code: int8 cuts off one of 128 at most; int4 may choose a scale of nine steps,
            // of which the codes reach seven.
            let bound: Float = precision == .int8 ? 1.02 / 128 : 1.02 * 2 / 9
            for output in 0..<outputs {
                let exact = Array(weight.row(output))
                for first in stride(from: 0, to: inputs, by: 32) {
                    let most = (first..<first + 32).map { abs(Float(exact[$0])) }.max() ?? 0
                    for k in first..<first + 32 {
                        let error = abs(kept[k * outputs + output] - Float(exact[k]))
                        #expect(error <= most * bound + 1e-6, "\(k) \(output)")
                    }
                }
                for row in 0..<rows {
                    var value = 0.0
                    var size = 0.0
                    for k in 0..<inputs {
                        let term = Double(x[row * inputs + k]) * Double(kept[k * outputs + output])
                        value += term
                        size += abs(term)
                    }
                    let error = abs(Double(whole[row * outputs + output]) - value)
                    #expect(error <= size * Double(inputs + 2) * 0x1p-24)
                }
            }
            for count in 1...13 {
                let part = Buffer(rows: rows, width: outputs, repeating: .nan)
                backend.linear(input, count: count, weight: matrix, bias: nil, out: part, accumulate: false)
                #expect(haveSameBits(part.values(rows: count), Array(whole.prefix(count * outputs))))
            }
        }
    }

    @Test("what does not divide into groups keeps its precision")
    func undivided() throws {
        let backend = try makeBackend("baseline")
        var generator = SeededGenerator(seed: 72)
        let weight = try TestWeight(.bfloat16, shape: [3, 33], using: &generator)
        let matrix = backend.makeMatrix([[TensorRows(weight.tensor)]], gated: false, precision: .int8)
        #expect(matrix.precision == .stored && matrix.dtype == .bfloat16)
    }
}
