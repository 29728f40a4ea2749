import Foundation
import Support
import Testing

@testable import Compute

@Suite struct TokenKernelTests {
    static let widths = [1, 3, 15, 16, 17, 64, 129]

    @Test("norm divides by the root of the mean square", arguments: instructionSets, widths)
    func norm(instructionSet: String, width: Int) throws {
        let backend = try makeBackend(instructionSet)
        var generator = SeededGenerator(seed: 11)
        let weight = try TestWeight(.bfloat16, shape: [width], using: &generator)
        let x = randomFloats(13 * width, using: &generator)
        let choice: [Int32] = [12, 0, 5, 5]
        let epsilon: Float = 1e-3
        func expected(_ rows: [Int]) -> [Double] {
            rows.flatMap { row in
                let row = x[row * width..<(row + 1) * width].map(Double.init)
                let meanSquare = row.reduce(0) { $0 + $1 * $1 } / Double(width)
                return zip(row, weight.values).map { $0 / (meanSquare + Double(epsilon)).squareRoot() * Double($1) }
            }
        }
        let input = Buffer(x, width: width)
        let out = Buffer(rows: 13, width: width, repeating: .nan)
        let vector = backend.makeVector([weight.tensor])
        // Sixteen partial sums of at most nine squares, one root, one division, two products: a few ulp.
        let tolerance = 8 * 0x1p-24
        backend.norm(input, rows: nil, count: 13, weight: vector, epsilon: epsilon, out: out)
        let whole = out.values(rows: 13)
        #expect(relativeDistance(whole, expected(Array(0..<13))) < tolerance)
        choice.withUnsafeBufferPointer {
            backend.norm(input, rows: $0.baseAddress, count: 4, weight: vector, epsilon: epsilon, out: out)
        }
        #expect(relativeDistance(out.values(rows: 4), expected(choice.map(Int.init))) < tolerance)
        #expect(haveSameBits(Array(out[row: 0]), Array(whole.suffix(width))))
    }

    @Test("norm of zeros is zero, with an epsilon", arguments: instructionSets)
    func normOfZeros(instructionSet: String) throws {
        let backend = try makeBackend(instructionSet)
        let zeros = Buffer(rows: 1, width: 17, repeating: 0)
        let out = Buffer(rows: 1, width: 17, repeating: .nan)
        let ones = Buffer(rows: 1, width: 17, repeating: 1)
        backend.norm(zeros, rows: nil, count: 1, weight: ones, epsilon: 1e-6, out: out)
        #expect(out.values(rows: 1) == zeros.values(rows: 1))
    }

    @Test(
        "norm of segments divides each by its own size, in place, and leaves the rest", arguments: instructionSets,
        widths)
    func segments(instructionSet: String, width: Int) throws {
        let backend = try makeBackend(instructionSet, threads: 2)
        defer { backend.stop() }
        var generator = SeededGenerator(seed: 14)
        let (first, segments, rows) = (5, 3, 7)
        let rowWidth = first + segments * width + 2
        let weight = try TestWeight(.float32, shape: [width], using: &generator)
        let x = randomFloats(rows * rowWidth, using: &generator)
        let found = Buffer(x, width: rowWidth)
        let vector = backend.makeVector([weight.tensor])
        backend.normSegments(found, count: rows - 1, first: first, segments: segments, weight: vector, epsilon: 1e-3)
        var expected = x
        for row in 0..<rows - 1 {
            for segment in 0..<segments {
                let start = row * rowWidth + first + segment * width
                let part = Buffer(Array(x[start..<start + width]), width: width)
                let out = Buffer(rows: 1, width: width)
                backend.norm(part, rows: nil, count: 1, weight: vector, epsilon: 1e-3, out: out)
                expected.replaceSubrange(start..<start + width, with: out.values(rows: 1))
            }
        }
        #expect(haveSameBits(found.values(rows: rows), expected))
    }

    @Test("clamp holds numbers within the limit and keeps NaN", arguments: instructionSets)
    func clamp(instructionSet: String) throws {
        let backend = try makeBackend(instructionSet)
        let x = Buffer([-3, -1.5, -1, 0, 1.5, 9, -.infinity, .infinity, .nan, 9], width: 5)
        backend.clamp(x, count: 1, limit: 1.5)
        #expect(x.values(rows: 1) == [-1.5, -1.5, -1, 0, 1.5])
        #expect(x[row: 1][0] == 9)
        backend.clamp(x, count: 2, limit: 1.5)
        #expect(Array(x[row: 1].prefix(3)) == [1.5, -1.5, 1.5] && x[row: 1][3].isNaN && x[row: 1][4] == 1.5)
    }

    @Test("embed copies rows exactly", arguments: instructionSets, DType.weights)
    func embed(instructionSet: String, dtype: DType) throws {
        let backend = try makeBackend(instructionSet)
        var generator = SeededGenerator(seed: 12)
        for width in Self.widths {
            let table = try TestWeight(dtype, shape: [20, width], using: &generator)
            let ids: [Int32] = [19, 0, 7, 7, 1]
            let out = Buffer(rows: 6, width: width, repeating: .nan)
            TestTokens(ids: ids, positions: ids, sequences: ids).withLayout {
                backend.embed($0, table: table.tensor, out: out)
            }
            #expect(haveSameBits(out.values(rows: 5), ids.flatMap { table.row(Int($0)) }))
            #expect(out[row: 5].allSatisfy { $0.isNaN })
        }
    }

    @Test("every half-precision number widens exactly", arguments: instructionSets)
    func halves(instructionSet: String) throws {
        let backend = try makeBackend(instructionSet)
        let patterns = [UInt16](0...UInt16.max)
        var writer = SafetensorsWriter()
        writer.add("halves", dtype: "F16", shape: [65536], bytes: SafetensorsWriter.littleEndian(patterns))
        let tensor = try #require(SafetensorsFile(mapped(writer.file())).tensors["halves"])
        let expected = patterns.map { Float(Float16(bitPattern: $0)) }
        // Vectors are widened by one kernel, matrices by another; their product with 1 shows what the matrix holds.
        let vector = backend.makeVector([tensor]).values(rows: 1)
        for (found, expected) in zip(vector, expected) {
            #expect(found.bitPattern == expected.bitPattern || found.isNaN && expected.isNaN)
        }
        var column = SafetensorsWriter()
        column.add("column", dtype: "F16", shape: [65536, 1], bytes: SafetensorsWriter.littleEndian(patterns))
        let weight = try #require(SafetensorsFile(mapped(column.file())).tensors["column"])
        let out = Buffer(rows: 1, width: 65536, repeating: .nan)
        backend.linear(
            Buffer([1], width: 1), count: 1, weight: backend.makeMatrix([[weight]], gated: false), bias: nil, out: out,
            accumulate: false)
        for (found, expected) in zip(out.values(rows: 1), expected) {
            #expect(found == expected || found.isNaN && expected.isNaN)  // 0 + -0 is 0, so zeros lose their sign
        }
    }

    @Test("the only row of a matrix is a vector", arguments: instructionSets, DType.weights)
    func row(instructionSet: String, dtype: DType) throws {
        let backend = try makeBackend(instructionSet)
        var generator = SeededGenerator(seed: 14)
        let weight = try TestWeight(dtype, shape: [1, 37], using: &generator)
        let vector = backend.makeVector([TensorRows(weight.tensor, isTransposed: true)])
        #expect(vector.width == 37 && vector.rows == 1)
        #expect(haveSameBits(vector.values(rows: 1), weight.values))
    }

    @Test("a vector of several parts is their values end to end", arguments: instructionSets)
    func vectors(instructionSet: String) throws {
        let backend = try makeBackend(instructionSet)
        var generator = SeededGenerator(seed: 13)
        let parts = try zip(DType.weights, [5, 16, 19]).map { try TestWeight($0, shape: [$1], using: &generator) }
        let vector = backend.makeVector(parts.map(\.tensor))
        #expect(vector.width == 40 && vector.rows == 1)
        #expect(haveSameBits(vector.values(rows: 1), parts.flatMap(\.values)))
    }
}
