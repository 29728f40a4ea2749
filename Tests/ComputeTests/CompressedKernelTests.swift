// Bfloat16 in twelve bits: the bits of products over bfloat16 as it is, whatever the weights, and plain panels where they do
// not fit.

import CPUKernels
import Foundation
import Support
import Testing

@testable import Compute

/// Whether this machine keeps bfloat16 in twelve bits.
private let compresses = cpu_kernels_named(nil)?.pointee.has_bf12 ?? false

@Suite(.enabled(if: compresses, "no instruction set of this machine reads bfloat16 in twelve bits"))
struct CompressedKernelTests {
    /// Numbers near a normal distribution's, `rare` of a thousand of any other size.
    private static func weights(
        _ count: Int, rare: Int, using generator: inout SeededGenerator
    ) -> [Float] {
        (0..<count).map { _ in
            if Int.random(in: 0..<1000, using: &generator) < rare {
                // No NaN: its bits are not said to stay.
                return Float(bitPattern: UInt32.random(in: 0...0x7F7F, using: &generator) << 16)
                    * (Bool.random(using: &generator) ? 1 : -1)
            }
            return randomFloats(6, using: &generator).reduce(0, +) / 60
        }
    }

    /// The matrix `[outputs, inputs]`, compressed; and one that is not, because 32 outputs of any size follow in it.
    private static func pair(
        _ values: [Float], inputs: Int, _ precision: WeightPrecision, on backend: CPUBackend,
        using generator: inout SeededGenerator
    ) throws -> (compressed: Matrix, plain: Matrix) {
        let outputs = values.count / inputs
        let wild = (0..<32 * inputs).map { _ in
            Float(bitPattern: UInt32.random(in: 0...0x7F7F, using: &generator) << 16)
        }
        let padded = values + [Float](repeating: 0, count: (outputs + 31) / 32 * 32 * inputs - values.count)
        let (own, both) = (
            try TestWeight(.bfloat16, shape: [outputs, inputs], values: values),
            try TestWeight(.bfloat16, shape: [padded.count / inputs + 32, inputs], values: padded + wild)
        )
        return (
            backend.makeMatrix([[TensorRows(own.tensor)]], gated: false, precision: precision),
            backend.makeMatrix([[TensorRows(both.tensor)]], gated: false, precision: precision)
        )
    }

    @Test(
        "products have the bits of those over plain panels, for any number of rows",
        arguments: [(4, 1), (20, 33), (64, 32), (256, 70), (516, 64), (1100, 40)],
        [WeightPrecision.stored, .bfloat16])
    func product(shape: (inputs: Int, outputs: Int), precision: WeightPrecision) throws {
        let backend = try #require(CPUBackend(threads: 2))
        defer { backend.stop() }
        let (inputs, outputs) = shape
        var generator = SeededGenerator(seed: 90)
        let values = Self.weights(inputs * outputs, rare: 1, using: &generator)
        let (compressed, plain) = try Self.pair(values, inputs: inputs, precision, on: backend, using: &generator)
        #expect(compressed.isCompressed && !plain.isCompressed && plain.precision == precision)
        let rows = 50
        let x = Buffer(randomFloats(rows * inputs, using: &generator), width: inputs)
        let expected = Buffer(rows: rows, width: plain.outputs)
        backend.linear(x, count: rows, weight: plain, bias: nil, out: expected, accumulate: false)
        for count in [1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 25, 33, 48, 49, 50] {
            let out = Buffer(rows: rows, width: outputs, repeating: .nan)
            backend.linear(x, count: count, weight: compressed, bias: nil, out: out, accumulate: false)
            for row in 0..<count {
                #expect(haveSameBits(Array(out[row: row]), Array(expected[row: row].prefix(outputs))), "row \(row)")
            }
        }
    }

    @Test("gated products are those of both halves")
    func gated() throws {
        let backend = try #require(CPUBackend(threads: 1))
        defer { backend.stop() }
        var generator = SeededGenerator(seed: 91)
        let (rows, inputs, outputs) = (20, 128, 40)
        let halves = try (0..<2).map { _ in
            try TestWeight(
                .bfloat16, shape: [outputs, inputs],
                values: Self.weights(outputs * inputs, rare: 0, using: &generator))
        }
        let matrix = backend.makeMatrix(
            [halves.map { TensorRows($0.tensor) }], gated: true, precision: .bfloat16)
        #expect(matrix.isCompressed)
        let x = Buffer(randomFloats(rows * inputs, using: &generator), width: inputs)
        let out = Buffer(rows: rows, width: outputs, repeating: .nan)
        backend.gatedLinear(x, count: rows, weight: matrix, out: out)
        for row in 0..<rows {
            let own = Array(x[row: row]).map(roundedToBFloat16)
            for output in 0..<outputs {
                let (gate, up) = (dot(own[...], halves[0].row(output)), dot(own[...], halves[1].row(output)))
                let expected = silu(gate.value) * up.value
                let error = abs(Double(out[row: row][output]) - expected)
                #expect(error <= 1e-5 * (gate.size * up.size + 1))
            }
        }
    }

    @Test("a panel holds as many odd weights as its list has room for; with one more all panels are plain")
    func room() throws {
        let backend = try #require(CPUBackend(threads: 1))
        defer { backend.stop() }
        var generator = SeededGenerator(seed: 92)
        let (inputs, outputs) = (256, 32)
        for (odd, fits) in [(0, true), (14, true), (15, true), (16, false), (17, false)] {
            // Sixteen high bytes for most, and others for `odd` weights, the first and the last among them.
            var values = (0..<inputs * outputs).map { (index: Int) -> Float in
                let (high, low) = (0x30 + index % 16, index / 16 % 256)
                return Float(bitPattern: UInt32(high << 24 | low << 16))
            }
            let last = inputs * outputs - 1
            for index in 0..<odd { values[index * last / max(1, odd - 1)] = -3e30 }
            let weight = try TestWeight(.bfloat16, shape: [outputs, inputs], values: values)
            let matrix = backend.makeMatrix([[TensorRows(weight.tensor)]], gated: false, precision: .bfloat16)
            #expect(matrix.isCompressed == fits, "\(odd) odd weights")
            let x = randomFloats(inputs, using: &generator).map(roundedToBFloat16)
            let out = Buffer(rows: 1, width: outputs)
            backend.linear(
                Buffer(x, width: inputs), count: 1, weight: matrix, bias: nil, out: out, accumulate: false)
            for output in 0..<outputs {
                let (value, size) = dot(x[...], weight.row(output))
                #expect(abs(Double(out.floats[output]) - value) <= size * Double(inputs) * 0x1p-24)
            }
        }
    }

    @Test("one expert whose weights do not fit makes the panels of all plain, and every stack is said once")
    func experts() throws {
        let backend = try #require(CPUBackend(threads: 2))
        defer { backend.stop() }
        var generator = SeededGenerator(seed: 93)
        let (inputs, outputs) = (64, 32)
        let stacks = try (0..<3).map { index in
            let values = Self.weights(inputs * outputs, rare: index == 1 ? 500 : 0, using: &generator)
            return [TensorRows(try TestWeight(.bfloat16, shape: [outputs, inputs], values: values).tensor)]
        }
        var said = 0
        let matrix = backend.makeMatrix(stacks, gated: false, precision: .bfloat16) { _ in said += 1 }
        #expect(!matrix.isCompressed && said == 3 && matrix.stride == inputs * outputs * 2)
        for index in 0..<3 {
            let one = backend.makeMatrix([stacks[index]], gated: false, precision: .bfloat16)
            #expect(one.isCompressed == (index != 1))
        }
    }

    @Test("wider weights are rounded, then compressed", arguments: [DType.float16, .float32])
    func otherTypes(dtype: DType) throws {
        let backend = try #require(CPUBackend(threads: 1))
        defer { backend.stop() }
        var generator = SeededGenerator(seed: 94)
        let (inputs, outputs) = (36, 40)
        let weight = try TestWeight(dtype, shape: [outputs, inputs], using: &generator)
        let matrix = backend.makeMatrix([[TensorRows(weight.tensor)]], gated: false, precision: .bfloat16)
        #expect(matrix.isCompressed)
        let expected = (0..<inputs).flatMap { k in (0..<outputs).map { roundedToBFloat16(Array(weight.row($0))[k]) } }
        #expect(backend.kept(matrix) == expected)
    }
}
