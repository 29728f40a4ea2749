import Foundation
import Support
import Testing

@testable import Compute

/// Products of every shape of tile: whole and broken panels, groups of panels, one input and many.
private let shapes = [1, 3, 17, 129].flatMap { inputs in
    [1, 15, 17, 48, 100].map { (inputs: inputs, outputs: $0) }
}

/// Rows that make every height of tile, and more than one block of rows.
private let rowCounts = Array(1...13) + [50]
private let rows = 50

@Suite struct LinearKernelTests {
    @Test(
        "linear equals a plain product, and a row's bits do not depend on the batch",
        arguments: instructionSets, [[DType.bfloat16], [.float16], [.float32], [.bfloat16, .float32, .float16]])
    func linear(instructionSet: String, dtypes: [DType]) throws {
        let backend = try makeBackend(instructionSet)
        var generator = SeededGenerator(seed: 1)
        for (inputs, outputs) in shapes where outputs >= dtypes.count {
            let blocks = try stack(dtypes, outputs: outputs, inputs: inputs, using: &generator)
            let matrix = backend.makeMatrix([blocks.map(\.tensor)], gated: false)
            #expect(matrix.outputs == outputs && matrix.inputs == inputs && matrix.count == 1)
            #expect(matrix.dtype == (dtypes == [.bfloat16] ? .bfloat16 : .float32))
            let x = randomFloats(rows * inputs, using: &generator)
            let input = Buffer(x, width: inputs)
            let out = Buffer(rows: rows, width: outputs, repeating: .nan)
            backend.linear(input, count: rows, weight: matrix, bias: nil, out: out, accumulate: false)
            let whole = out.values(rows: rows)
            let weights = blocks.flatMap { block in (0..<block.tensor.shape[0]).map { block.row($0) } }
            var worst = 0.0
            for row in 0..<rows {
                for (output, weight) in weights.enumerated() {
                    let (value, size) = dot(x[row * inputs..<(row + 1) * inputs], weight)
                    worst = max(worst, abs(Double(whole[row * outputs + output]) - value) / size)
                }
            }
            // Each of n multiply-adds rounds by at most half an ulp of a sum no larger than Σ |x w|; without a fused
            // one there is a rounding for the product, too.
            #expect(worst <= Double(inputs + 1) * 0x1p-24, "\(inputs) to \(outputs): \(worst)")
            for count in rowCounts {
                let part = Buffer(rows: rows, width: outputs, repeating: .nan)
                backend.linear(input, count: count, weight: matrix, bias: nil, out: part, accumulate: false)
                #expect(haveSameBits(part.values(rows: count), Array(whole.prefix(count * outputs))))
                #expect(count == rows || part[row: count].allSatisfy(\.isNaN), "rows behind the last are not written")
            }
            let single = Buffer(Array(x.suffix(inputs)), width: inputs)
            backend.linear(single, count: 1, weight: matrix, bias: nil, out: out, accumulate: false)
            #expect(haveSameBits(out.values(rows: 1), Array(whole.suffix(outputs))), "row 49 alone")
        }
    }

    @Test(
        "bias and the old value are added to the product, once each",
        arguments: instructionSets, [(true, false), (false, true), (true, true)])
    func additions(instructionSet: String, additions: (bias: Bool, accumulate: Bool)) throws {
        let backend = try makeBackend(instructionSet)
        var generator = SeededGenerator(seed: 2)
        for (inputs, outputs) in shapes {
            let weight = try TestWeight(.bfloat16, shape: [outputs, inputs], using: &generator)
            let matrix = backend.makeMatrix([[weight.tensor]], gated: false)
            let bias = try TestWeight(.float32, shape: [outputs], using: &generator)
            let input = Buffer(randomFloats(7 * inputs, using: &generator), width: inputs)
            let old = randomFloats(7 * outputs, using: &generator)
            let product = Buffer(rows: 7, width: outputs)
            backend.linear(input, count: 7, weight: matrix, bias: nil, out: product, accumulate: false)
            let out = Buffer(old, width: outputs)
            backend.linear(
                input, count: 7, weight: matrix, bias: additions.bias ? backend.makeVector([bias.tensor]) : nil,
                out: out, accumulate: additions.accumulate)
            // The order is part of the promise: product, bias, old value.
            let expected = product.values(rows: 7).enumerated().map { index, value in
                let sum = additions.bias ? value + bias.values[index % outputs] : value
                return additions.accumulate ? sum + old[index] : sum
            }
            #expect(haveSameBits(out.values(rows: 7), expected))
        }
    }

    @Test(
        "few panels are computed for parts of the rows, with the same bits", arguments: instructionSets,
        WeightPrecision.allCases)
    func parts(instructionSet: String, precision: WeightPrecision) throws {
        let backends = try [1, 2, 7].map { try makeBackend(instructionSet, threads: $0) }
        defer { for backend in backends { backend.stop() } }
        var generator = SeededGenerator(seed: 6)
        for (outputs, rows) in [(1, 31), (5, 32), (40, 33), (70, 101)] {
            let weight = try TestWeight(.bfloat16, shape: [outputs, 64], using: &generator)
            let input = Buffer(randomFloats(rows * 64, using: &generator), width: 64)
            let old = randomFloats((rows + 1) * outputs, using: &generator)
            let results = backends.map { backend in
                let out = Buffer(old, width: outputs)
                let matrix = backend.makeMatrix([[TensorRows(weight.tensor)]], gated: false, precision: precision)
                backend.linear(input, count: rows, weight: matrix, bias: nil, out: out, accumulate: true)
                return out.values(rows: rows + 1)
            }
            #expect(haveSameBits(results[1], results[0]) && haveSameBits(results[2], results[0]))
            #expect(results[0].suffix(outputs) == old.suffix(outputs), "the row behind the last")
        }
    }

    @Test("data that is not aligned in its file loads the same", arguments: DType.weights, [1, 2, 3, 5])
    func unaligned(dtype: DType, padding: Int) throws {
        let backend = try #require(CPUBackend(threads: 1))
        var generator = SeededGenerator(seed: 3)
        let values = randomFloats(33 * 67, using: &generator)
        let input = Buffer(randomFloats(67, using: &generator), width: 67)
        let results = try [0, padding].map { padding in
            let weight = try TestWeight(dtype, shape: [33, 67], values: values, padding: padding)
            let out = Buffer(rows: 1, width: 33)
            backend.linear(
                input, count: 1, weight: backend.makeMatrix([[weight.tensor]], gated: false), bias: nil, out: out,
                accumulate: false)
            return out.values(rows: 1)
        }
        #expect(haveSameBits(results[0], results[1]))
    }

    @Test(
        "gatedLinear equals silu(gate) * up, and a row's bits do not depend on the batch",
        arguments: instructionSets,
        [[DType.bfloat16, .bfloat16], [.float16, .float16], [.float32, .float32], [.bfloat16, .float32]])
    func gated(instructionSet: String, dtypes: [DType]) throws {
        let backend = try makeBackend(instructionSet)
        var generator = SeededGenerator(seed: 4)
        for (inputs, outputs) in shapes {
            let gate = try TestWeight(dtypes[0], shape: [outputs, inputs], using: &generator)
            let up = try TestWeight(dtypes[1], shape: [outputs, inputs], using: &generator)
            let matrix = backend.makeMatrix([[gate.tensor, up.tensor]], gated: true)
            #expect(matrix.outputs == outputs && matrix.isGated)
            let x = randomFloats(rows * inputs, using: &generator)
            let out = Buffer(rows: rows, width: outputs, repeating: .nan)
            backend.gatedLinear(Buffer(x, width: inputs), count: rows, weight: matrix, out: out)
            let whole = out.values(rows: rows)
            let expected = (0..<rows).flatMap { row in
                let x = x[row * inputs..<(row + 1) * inputs]
                return (0..<outputs).map { silu(dot(x, gate.row($0)).value) * dot(x, up.row($0)).value }
            }
            // Float32 rounding of two sums of up to 129 terms, and an exponential good to 2 ulp.
            #expect(relativeDistance(whole, expected) < 2e-6, "\(inputs) to \(outputs)")
            for count in rowCounts {
                let part = Buffer(rows: rows, width: outputs, repeating: .nan)
                backend.gatedLinear(Buffer(x, width: inputs), count: count, weight: matrix, out: part)
                #expect(haveSameBits(part.values(rows: count), Array(whole.prefix(count * outputs))))
            }
        }
    }

    @Test("silu of large sums is 0 or the sum, never NaN", arguments: instructionSets)
    func saturation(instructionSet: String) throws {
        let backend = try makeBackend(instructionSet)
        let sums: [Float] = [-1e30, -200, -88, -50, 0, 50, 88, 200, 1e30]
        let gate = try TestWeight(.float32, shape: [sums.count, 1], values: sums)
        let up = try TestWeight(.float32, shape: [sums.count, 1], values: sums.map { _ in 1 })
        let out = Buffer(rows: 1, width: sums.count)
        backend.gatedLinear(
            Buffer([1], width: 1), count: 1, weight: backend.makeMatrix([[gate.tensor, up.tensor]], gated: true),
            out: out)
        for (found, sum) in zip(out.values(rows: 1), sums) {
            #expect(abs(Double(found) - silu(Double(sum))) <= 1e-6 * max(0, Double(sum)) + 1e-5, "silu(\(sum))")
        }
    }

    @Test("the thread count does not change a bit", arguments: instructionSets)
    func threads(instructionSet: String) throws {
        var generator = SeededGenerator(seed: 5)
        let (inputs, outputs) = (129, 300)
        let gate = try TestWeight(.bfloat16, shape: [outputs, inputs], using: &generator)
        let up = try TestWeight(.bfloat16, shape: [outputs, inputs], using: &generator)
        let x = Buffer(randomFloats(rows * inputs, using: &generator), width: inputs)
        let results = try [1, 2, 4].map { threads in
            let backend = try makeBackend(instructionSet, threads: threads)
            defer { backend.stop() }
            let out = Buffer(rows: rows, width: outputs, repeating: .nan)
            let plain = backend.makeMatrix([[gate.tensor]], gated: false)
            backend.linear(x, count: rows, weight: plain, bias: nil, out: out, accumulate: false)
            let linear = out.values(rows: rows)
            let pair = backend.makeMatrix([[gate.tensor, up.tensor]], gated: true)
            backend.gatedLinear(x, count: rows, weight: pair, out: out)
            return linear + out.values(rows: rows)
        }
        #expect(haveSameBits(results[0], results[1]))
        #expect(haveSameBits(results[0], results[2]))
    }

    /// `outputs` rows in as many blocks as there are types.
    private func stack(
        _ dtypes: [DType], outputs: Int, inputs: Int, using generator: inout SeededGenerator
    ) throws -> [TestWeight] {
        var left = outputs
        return try dtypes.enumerated().map { index, dtype in
            let height = index == dtypes.count - 1 ? left : max(1, outputs / (dtypes.count + 1))
            left -= height
            return try TestWeight(dtype, shape: [height, inputs], using: &generator)
        }
    }
}
