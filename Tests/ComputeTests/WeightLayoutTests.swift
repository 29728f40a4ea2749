import Foundation
import Support
import Testing

@testable import Compute

/// What a matrix holds, read back as its product with each unit vector: `[outputs][inputs]`.
private func contents(_ matrix: Matrix, on backend: CPUBackend) -> [[Float]] {
    let units = Buffer(rows: matrix.inputs, width: matrix.inputs, repeating: 0)
    for index in 0..<matrix.inputs { units[row: index][index] = 1 }
    let out = Buffer(rows: matrix.inputs, width: matrix.outputs)
    backend.linear(units, count: matrix.inputs, weight: matrix, bias: nil, out: out, accumulate: false)
    return (0..<matrix.outputs).map { output in (0..<matrix.inputs).map { out[row: $0][output] } }
}

@Suite struct WeightLayoutTests {
    @Test("rows may be chosen in any order, and one block may be transposed", arguments: instructionSets, DType.weights)
    func rows(instructionSet: String, dtype: DType) throws {
        let backend = try makeBackend(instructionSet, threads: 2)
        defer { backend.stop() }
        var generator = SeededGenerator(seed: 61)
        for (rows, columns) in [(1, 1), (7, 19), (40, 33)] {
            let weight = try TestWeight(dtype, shape: [rows, columns], using: &generator)
            let chosen = (0..<2 * rows).map { _ in Int.random(in: 0..<rows, using: &generator) }
            let matrix = backend.makeMatrix([[TensorRows(weight.tensor, rows: chosen)]], gated: false)
            #expect(contents(matrix, on: backend) == chosen.map { Array(weight.row($0)) })
            let turned = backend.makeMatrix(
                [[TensorRows(weight.tensor, rows: chosen, isTransposed: true)]], gated: false)
            #expect(turned.outputs == columns && turned.inputs == chosen.count)
            let expected = (0..<columns).map { column in
                chosen.map { weight.values[$0 * columns + column] }
            }
            #expect(contents(turned, on: backend) == expected)
        }
    }

    @Test("blocks of scales are part of a plan, however many there are")
    func plannedScales() throws {
        var writer = SafetensorsWriter()
        writer.add("weight", dtype: "F8_E4M3", shape: [16, 16], bytes: [UInt8](repeating: 0, count: 256))
        writer.add(
            "scales", dtype: "F32", shape: [4, 3], bytes: SafetensorsWriter.float32([Float](repeating: 1, count: 12)))
        let tensors = try SafetensorsFile(mapped(writer.file())).tensors
        let (weight, scales) = (try #require(tensors["weight"]), try #require(tensors["scales"]))
        func plan(_ blocks: ScaleBlocks) -> PackedPlan {
            let layout = CPULayoutSize()
            _ = layout.makeMatrix([[TensorRows(weight.scaled(by: scales, blocks: blocks))]], gated: false)
            return layout.plan
        }
        let five = ScaleBlocks(rows: 5, columns: 7)
        #expect(plan(five) == plan(five) && plan(five) != plan(ScaleBlocks(rows: 4, columns: 7)))
        #expect(plan(five) != plan(ScaleBlocks(rows: 5, columns: 6)))
    }

    @Test("every 8-bit float widens exactly, times the scale of its block", arguments: instructionSets)
    func eightBits(instructionSet: String) throws {
        let backend = try makeBackend(instructionSet)
        let (rows, columns) = (16, 16)
        let blocks = ScaleBlocks(rows: 5, columns: 7)
        let codes = (0..<256).map { UInt8($0) }
        let scales = (0..<12).map { 0.25 + Float($0) }
        var writer = SafetensorsWriter()
        writer.add("weight", dtype: "F8_E4M3", shape: [rows, columns], bytes: codes)
        writer.add("scales", dtype: "F32", shape: [4, 3], bytes: SafetensorsWriter.float32(scales))
        let file = try SafetensorsFile(mapped(writer.file()))
        let weight = try #require(file.tensors["weight"])
        #expect(weight.scaleShape(blocks) == [4, 3])
        let scaled = weight.scaled(by: try #require(file.tensors["scales"]), blocks: blocks)
        #expect(scaled.byteCount == 256 && scaled.storedByteCount == 256 + 48)
        // As a vector of 256 elements each code stands alone; NaN times zero would spoil a matrix product.
        for (index, code) in codes.enumerated() {
            let (exponent, fraction) = (Int(code >> 3 & 15), Float(code & 7))
            var size = exponent == 0 ? fraction / 8 * 0x1p-6 : (1 + fraction / 8) * Float(exponent - 7).exponential
            if code & 0x7F == 0x7F { size = .nan }
            let expected = (code & 0x80 == 0 ? size : -size) * scales[index / 16 / 5 * 3 + index % 16 / 7]
            let row = TensorRows(scaled, rows: [index / 16])
            let matrix = backend.makeMatrix([[row]], gated: false)
            #expect(matrix.dtype == .float32)
            let found = matrix.storage.bytes.loadUnaligned(fromByteOffset: index % 16 * 128, as: Float.self)
            #expect(found.bitPattern == expected.bitPattern || found.isNaN && expected.isNaN, "code \(code)")
        }
    }

    @Test("one product for each head equals the heads' own products", arguments: instructionSets, [1, 2, 13])
    func headLinear(instructionSet: String, rows: Int) throws {
        let backend = try makeBackend(instructionSet, threads: 2)
        defer { backend.stop() }
        var generator = SeededGenerator(seed: 62)
        for (heads, inputs, outputs) in [(1, 3, 1), (3, 17, 40), (5, 8, 16)] {
            let weights = try (0..<heads).map { _ in
                try TestWeight(.bfloat16, shape: [outputs, inputs], using: &generator)
            }
            // Heads of the input and output are wider than what is read and written.
            let (xHead, yHead) = (inputs + 2, outputs + 3)
            let x = Buffer(randomFloats(rows * heads * xHead, using: &generator), width: heads * xHead)
            let out = Buffer(rows: rows, width: heads * yHead, repeating: -7)
            let matrix = backend.makeMatrix(weights.map { [$0.tensor] }, gated: false)
            backend.headLinear(x, count: rows, weight: matrix, out: out)
            for (head, weight) in weights.enumerated() {
                let own = Buffer(
                    (0..<rows).flatMap { Array(x[row: $0][head * xHead..<head * xHead + inputs]) }, width: inputs)
                let expected = Buffer(rows: rows, width: outputs)
                backend.linear(
                    own, count: rows, weight: backend.makeMatrix([[weight.tensor]], gated: false), bias: nil,
                    out: expected, accumulate: false)
                for row in 0..<rows {
                    let found = Array(out[row: row][head * yHead..<(head + 1) * yHead])
                    #expect(haveSameBits(found, Array(expected[row: row]) + [-7, -7, -7]))
                }
            }
        }
    }

    @Test(
        "layouts take the memory that they were said to take", arguments: instructionSets, WeightPrecision.allCases)
    func sizes(instructionSet: String, precision: WeightPrecision) throws {
        let backend = try makeBackend(instructionSet)
        defer { backend.stop() }
        var generator = SeededGenerator(seed: 63)
        let size = CPULayoutSize(instructionSet: instructionSet)
        var expected = 0.0
        for dtype in DType.weights {
            for inputs in [5, 64, 292] {
                let weight = try TestWeight(dtype, shape: [19, inputs], using: &generator)
                let pair = [[TensorRows(weight.tensor), TensorRows(weight.tensor)]]
                for gated in [false, true] {
                    let matrix = backend.makeMatrix(pair, gated: gated, precision: precision)
                    let said = size.makeMatrix(pair, gated: gated, precision: precision)
                    #expect(said.outputs == matrix.outputs && said.dtype == matrix.dtype)
                    #expect(said.isCompressed == matrix.isCompressed)
                    expected += Double(matrix.storage.bytes.count)
                }
            }
        }
        #expect(size.bytes == expected)
    }
}

extension Float {
    /// 2 to this power.
    fileprivate var exponential: Float { Float(sign: .plus, exponent: Int(self), significand: 1) }
}
