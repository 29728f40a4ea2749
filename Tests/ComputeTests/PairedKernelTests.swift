// Products whose inputs are rounded to bfloat16: what is rounded, what is summed, and equal bits in any batch.

import Foundation
import Support
import Testing

@testable import Compute

@Suite struct PairedKernelTests {
    @Test(
        "inputs are rounded to the nearest, to even, whatever they are and wherever they lie",
        arguments: instructionSets)
    func rounding(instructionSet: String) throws {
        let backend = try makeBackend(instructionSet)
        defer { backend.stop() }
        var generator = SeededGenerator(seed: 80)
        let weight = backend.makeMatrix(
            [[TensorRows(try TestWeight(.bfloat16, shape: [1, 1], using: &generator).tensor)]], gated: false,
            precision: .bfloat16)
        // Two to a word, or one as a float.
        let isPaired = instructionSet == "avx512bf16"
        let special: [UInt32] = [
            0, 0x8000_0000, 1, 0x7F80_0000, 0xFF80_0000, 0x7F80_0001, 0x7FC0_1234, 0xFFFF_FFFF, 0x7F7F_FFFF,
            0x3F80_8000, 0x3F81_8000, 0x3F80_7FFF, 0x3F80_8001,
        ]
        for width in [1, 15, 16, 17, 50] {
            let bits = (0..<40 * width).map {
                $0 < special.count ? special[$0] : UInt32(truncatingIfNeeded: generator.next())
            }
            let x = Buffer(bits.map(Float.init(bitPattern:)), width: width)
            let words = backend.input(x, count: 40, for: weight)
            for row in 0..<40 {
                let start = UnsafeRawPointer(words.start + row * words.stride)
                for column in 0..<width {
                    let found =
                        isPaired
                        ? UInt32(start.load(fromByteOffset: 2 * column, as: UInt16.self)) << 16
                        : start.load(fromByteOffset: 4 * column, as: UInt32.self)
                    let exact = x[row: row][column]
                    let matches =
                        exact.isNaN ? Float(bitPattern: found).isNaN : found == roundedToBFloat16(exact).bitPattern
                    #expect(matches, "\(exact) at \(column)")
                }
            }
        }
    }

    @Test(
        "the product is that of rounded inputs, and a row's bits do not depend on the batch",
        arguments: instructionSets,
        [(1, 1), (2, 33), (33, 16), (255, 70), (256, 100)])
    func product(instructionSet: String, shape: (inputs: Int, outputs: Int)) throws {
        let backend = try makeBackend(instructionSet, threads: 2)
        defer { backend.stop() }
        let (inputs, outputs) = shape
        var generator = SeededGenerator(seed: 81)
        let weight = try TestWeight(.bfloat16, shape: [outputs, inputs], using: &generator)
        let matrix = backend.makeMatrix([[TensorRows(weight.tensor)]], gated: false, precision: .bfloat16)
        #expect(matrix.precision == .bfloat16)
        let rows = 50
        let x = randomFloats(rows * inputs, using: &generator)
        let input = Buffer(x, width: inputs)
        let bias = Buffer(randomFloats(outputs, using: &generator), width: outputs)
        let out = Buffer(rows: rows, width: outputs, repeating: .nan)
        backend.linear(input, count: rows, weight: matrix, bias: bias, out: out, accumulate: false)
        let whole = out.values(rows: rows)
        for row in 0..<rows {
            for output in 0..<outputs {
                var value = Double(bias.floats[output])
                var size = abs(value)
                for (k, weight) in weight.row(output).enumerated() {
                    let term = Double(roundedToBFloat16(x[row * inputs + k])) * Double(weight)
                    value += term
                    size += abs(term)
                }
                let error = abs(Double(whole[row * outputs + output]) - value)
                #expect(error <= size * Double(inputs + 2) * 0x1p-24, "row \(row), output \(output)")
            }
        }
        for count in 1...13 {
            let part = Buffer(rows: rows, width: outputs, repeating: .nan)
            backend.linear(input, count: count, weight: matrix, bias: bias, out: part, accumulate: false)
            #expect(haveSameBits(part.values(rows: count), Array(whole.prefix(count * outputs))))
        }
    }

    @Test("gate and up read the same rounded inputs", arguments: instructionSets)
    func gated(instructionSet: String) throws {
        let backend = try makeBackend(instructionSet)
        var generator = SeededGenerator(seed: 82)
        let (rows, inputs, outputs) = (9, 65, 20)
        let gate = try TestWeight(.bfloat16, shape: [outputs, inputs], using: &generator)
        let up = try TestWeight(.bfloat16, shape: [outputs, inputs], using: &generator)
        let matrix = backend.makeMatrix(
            [[TensorRows(gate.tensor), TensorRows(up.tensor)]], gated: true, precision: .bfloat16)
        let x = randomFloats(rows * inputs, using: &generator)
        let out = Buffer(rows: rows, width: outputs, repeating: .nan)
        backend.gatedLinear(Buffer(x, width: inputs), count: rows, weight: matrix, out: out)
        var expected: [Double] = []
        for row in 0..<rows {
            let input = x[row * inputs..<(row + 1) * inputs].map { Double(roundedToBFloat16($0)) }
            for output in 0..<outputs {
                func product(_ weight: TestWeight) -> Double {
                    zip(weight.row(output), input).reduce(0) { $0 + Double($1.0) * $1.1 }
                }
                expected.append(silu(product(gate)) * product(up))
            }
        }
        #expect(relativeDistance(out.values(rows: rows), expected) < 2e-6)
    }

    @Test("inputs beyond the largest bfloat16, infinities and NaN stay what they are", arguments: instructionSets)
    func extremes(instructionSet: String) throws {
        let backend = try makeBackend(instructionSet)
        let one = try TestWeight(.bfloat16, shape: [1, 1], values: [1])
        let matrix = backend.makeMatrix([[TensorRows(one.tensor)]], gated: false, precision: .bfloat16)
        let nan = Float(bitPattern: 0x7F80_0001)  // whose upper half alone is an infinity
        let values: [Float] = [.infinity, -.infinity, .greatestFiniteMagnitude, 0, nan, .nan]
        let out = Buffer(rows: values.count, width: 1)
        backend.linear(
            Buffer(values, width: 1), count: values.count, weight: matrix, bias: nil, out: out, accumulate: false)
        let found = out.values(rows: values.count)
        #expect(Array(found.prefix(4)) == [.infinity, -.infinity, .infinity, 0])
        #expect(found[4].isNaN && found[5].isNaN)
    }

    @Test("wider weights are rounded", arguments: instructionSets, [DType.float16, .float32])
    func otherTypes(instructionSet: String, dtype: DType) throws {
        let backend = try makeBackend(instructionSet)
        var generator = SeededGenerator(seed: 83)
        let (inputs, outputs) = (35, 40)
        let weight = try TestWeight(dtype, shape: [outputs, inputs], using: &generator)
        let matrix = backend.makeMatrix([[TensorRows(weight.tensor)]], gated: false, precision: .bfloat16)
        #expect(matrix.precision == .bfloat16 && matrix.dtype == .bfloat16)
        let expected = (0..<inputs).flatMap { k in (0..<outputs).map { roundedToBFloat16(Array(weight.row($0))[k]) } }
        #expect(backend.kept(matrix) == expected)
    }
}
