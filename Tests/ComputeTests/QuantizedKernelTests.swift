// Quantized weights: how far from the originals, that the product is that of what they stand for, and equal bits in any batch.

import Foundation
import Support
import Testing

@testable import Compute

@Suite struct QuantizedKernelTests {
    @Test(
        "a quantized product is near the exact one, and a row's bits do not depend on the batch",
        arguments: instructionSets, [WeightPrecision.int8, .int5])
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
            // Of the weight farthest from zero: int8 has 127 steps, whose bfloat16 length may cut off half of one more; int5 may
            // choose a scale that ends 12 % before it.
            let bound: Float = precision == .int8 ? 1.02 / 128 : 0.125
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

    @Test("every code of five bits stands for its number, whichever input has it", arguments: instructionSets)
    func numbers(instructionSet: String) throws {
        let backend = try makeBackend(instructionSet)
        defer { backend.stop() }
        var generator = SeededGenerator(seed: 73)
        let numbers = (-16..<16).map { t in
            Float(bitPattern: Float(t * (t * t + 330)).bitPattern & 0xFFFF_0000)
        }
        for (inputs, outputs) in [(32, 20), (96, 64)] {
            // Each group of each row has all numbers, in an order of its own.
            let rows = (0..<outputs * inputs / 32).flatMap { _ in numbers.shuffled(using: &generator) }
            var writer = SafetensorsWriter()
            writer.add("weight", dtype: "F32", shape: [outputs, inputs], bytes: SafetensorsWriter.float32(rows))
            let file = try SafetensorsFile(mapped(writer.file()))
            let weight = try #require(file.tensors["weight"])
            let matrix = backend.makeMatrix([[TensorRows(weight)]], gated: false, precision: .int5)
            let kept = backend.kept(matrix)
            // The scale that fits is a multiple of a unit, so it is that of all within half a unit.
            let ratio = kept[0] / rows[0]
            #expect(abs(ratio - 1) < 0.5 / 113)
            for k in 0..<inputs {
                for output in 0..<outputs {
                    let exact = rows[output * inputs + k] * ratio
                    #expect(abs(kept[k * outputs + output] - exact) <= abs(exact) * 0x1p-22, "\(k) \(output)")
                }
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
