import Foundation
import Support
import Testing

@testable import Compute

/// Widths of a latent attention layer whose keys and values are expanded.
struct ExpandedWidths: CustomTestStringConvertible, Sendable {
    var heads: Int
    var rank: Int
    var nope: Int
    var rotary: Int
    var value: Int
    var key: Int { nope + rotary }
    var testDescription: String { "\(heads) heads of \(nope) + \(rotary), \(value) over \(rank)" }
}

/// Sequences whose latents lie on pages in no order, and everything that attention over them takes.
private struct ExpandedSequences {
    let shape: ExpandedWidths
    var tokens: TestTokens
    let cache: KVCache
    let angles: RotaryTable
    let latent, keyRotary, query: [Float]
    /// Of each head: `[nope, rank]` and `[value, rank]`.
    let keyWeights, valueWeights: [TestWeight]

    init(
        _ shape: ExpandedWidths, lengths: [Int], dtype: DType, type: CacheType = .float32,
        using generator: inout SeededGenerator
    ) throws {
        self.shape = shape
        tokens = TestTokens(scattering: lengths, using: &generator)
        cache = KVCache(
            layers: 2, pages: tokens.pageCount,
            shape: CacheShape(heads: 1, headDimension: shape.rank + shape.rotary, hasValues: false, type: type))
        for buffer in cache.keys {
            for index in 0..<buffer.rows * buffer.width { buffer.floats[index] = .nan }
        }
        angles = RotaryTable(positions: lengths.max() ?? 0, dimension: shape.rotary, base: 10000)
        let count = tokens.ids.count
        latent = randomFloats(count * shape.rank, using: &generator)
        keyRotary = randomFloats(count * shape.rotary, using: &generator)
        query = randomFloats(count * shape.heads * shape.key, using: &generator)
        keyWeights = try (0..<shape.heads).map { _ in
            try TestWeight(dtype, shape: [shape.nope, shape.rank], using: &generator)
        }
        valueWeights = try (0..<shape.heads).map { _ in
            try TestWeight(dtype, shape: [shape.value, shape.rank], using: &generator)
        }
    }

    /// Stores all tokens; their turned queries.
    func stored(on backend: CPUBackend) -> Buffer {
        let turned = Buffer(query, width: shape.heads * shape.key)
        let absorbed = Buffer(rows: tokens.ids.count, width: shape.heads * (shape.rank + shape.rotary), repeating: 5)
        tokens.withLayout {
            backend.storeLatent(
                Buffer(latent, width: shape.rank), keyRotary: Buffer(keyRotary, width: shape.rotary), query: turned,
                absorbed: absorbed, tokens: $0, cache: cache, layer: 1, angles: angles)
        }
        #expect(absorbed.values(rows: absorbed.rows).allSatisfy { $0 == 5 }, "prompts are not absorbed")
        return turned
    }

    /// Attention of the tokens `chosen` alone, in one call.
    func attended(_ chosen: [Int], query: Buffer, on backend: CPUBackend) -> [Float] {
        var part = tokens
        part.ids = chosen.map { tokens.ids[$0] }
        part.positions = chosen.map { tokens.positions[$0] }
        part.sequences = chosen.map { tokens.sequences[$0] }
        let keys = backend.makeMatrix(
            keyWeights.map { [TensorRows($0.tensor, isTransposed: true)] }, gated: false)
        let values = backend.makeMatrix(valueWeights.map { [$0.tensor] }, gated: false)
        let rows = Buffer(chosen.flatMap { Array(query[row: $0]) }, width: query.width)
        let out = Buffer(rows: chosen.count, width: shape.heads * shape.value, repeating: .nan)
        let block = LatentBlock(
            tokens: chosen.count, heads: shape.heads, rank: shape.rank, key: shape.key, value: shape.value)
        for buffer in [block.rows, block.keys, block.values, block.softmax] {
            for index in 0..<buffer.rows * buffer.width { buffer.floats[index] = .nan }
        }
        part.withLayout {
            backend.attendExpanded(
                rows, tokens: $0, cache: cache, layer: 1, keys: keys, values: values, scale: 0.2, block: block, out: out
            )
        }
        return out.values(rows: chosen.count)
    }

    private func turned(_ x: [Double], position: Int) -> [Double] {
        let half = shape.rotary / 2
        return (0..<shape.rotary).map { index in
            let cosine = Double(angles.cosines.floats[position * half + index % half])
            let sine = Double(angles.sines.floats[position * half + index % half])
            return x[index] * cosine + (index < half ? -x[index + half] : x[index - half]) * sine
        }
    }

    /// Keys and values of all tokens, `[tokens][heads][width]`, in double precision.
    func expanded() -> (keys: [[[Double]]], values: [[[Double]]]) {
        func product(_ weight: TestWeight, _ token: Int) -> [Double] {
            let row = latent[token * shape.rank..<(token + 1) * shape.rank]
            return (0..<weight.tensor.shape[0]).map { dot(row, weight.row($0)).value }
        }
        let all = tokens.ids.indices
        let keys = all.map { token in
            let rotary = keyRotary[token * shape.rotary..<(token + 1) * shape.rotary].map(Double.init)
            let turned = turned(rotary, position: Int(tokens.positions[token]))
            return keyWeights.map { product($0, token) + turned }
        }
        return (keys, all.map { token in valueWeights.map { product($0, token) } })
    }

    /// Attention of one token in double precision, as the paper writes it.
    func reference(_ token: Int, _ expanded: (keys: [[[Double]]], values: [[[Double]]])) -> [Double] {
        let position = Int(tokens.positions[token])
        return (0..<shape.heads).flatMap { head -> [Double] in
            let first = (token * shape.heads + head) * shape.key
            let q = query[first..<first + shape.key].map(Double.init)
            let asked = Array(q[..<shape.nope]) + turned(Array(q[shape.nope...]), position: position)
            var total = 0.0
            var sums = [Double](repeating: 0, count: shape.value)
            for other in token - position...token {
                var score = 0.0
                for (x, y) in zip(asked, expanded.keys[other][head]) { score += x * y }
                let weight = exp(0.2 * score)
                total += weight
                for (index, value) in expanded.values[other][head].enumerated() { sums[index] += weight * value }
            }
            return sums.map { $0 / total }
        }
    }
}

@Suite struct ExpandedKernelTests {
    static let shapes = [
        ExpandedWidths(heads: 1, rank: 3, nope: 1, rotary: 2, value: 4),
        ExpandedWidths(heads: 3, rank: 7, nope: 9, rotary: 6, value: 5),
        ExpandedWidths(heads: 2, rank: 32, nope: 16, rotary: 4, value: 48),
        ExpandedWidths(heads: 2, rank: 33, nope: 37, rotary: 10, value: 70),
    ]

    @Test(
        "expanded attention equals its definition at every context",
        arguments: instructionSets.flatMap { name in [DType.bfloat16, .float32].map { (name, $0) } }, shapes)
    func attend(machine: (instructionSet: String, dtype: DType), shape: ExpandedWidths) throws {
        let (instructionSet, dtype) = machine
        let backend = try makeBackend(instructionSet, threads: 2)
        defer { backend.stop() }
        var generator = SeededGenerator(seed: 61)
        let sequences = try ExpandedSequences(shape, lengths: [5, 300, 17], dtype: dtype, using: &generator)
        let query = sequences.stored(on: backend)
        let all = Array(sequences.tokens.ids.indices)
        let found = sequences.attended(all, query: query, on: backend)
        let edges: Set<Int32> = [0, 1, 15, 16, 17, 126, 127, 128, 129, 255, 256, 257, 299]
        let width = shape.heads * shape.value
        let expanded = sequences.expanded()
        for token in all where token.isMultiple(of: 29) || edges.contains(sequences.tokens.positions[token]) {
            // Scores and sums of up to 300 terms in float32, exponentials good to 2 ulp.
            let distance = relativeDistance(
                Array(found[token * width..<(token + 1) * width]), sequences.reference(token, expanded))
            #expect(distance < 5e-6, "context \(sequences.tokens.positions[token] + 1)")
        }
    }

    @Test(
        "latents in bfloat16 expand to the bits of those in float32 that are the same numbers",
        arguments: instructionSets.flatMap { name in [DType.bfloat16, .float32].map { (name, $0) } }, shapes)
    func narrowCache(machine: (instructionSet: String, dtype: DType), shape: ExpandedWidths) throws {
        let backend = try makeBackend(machine.instructionSet, threads: 2)
        defer { backend.stop() }
        let found = try CacheType.allCases.map { type in
            var generator = SeededGenerator(seed: 63)
            let sequences = try ExpandedSequences(
                shape, lengths: [5, 300, 17], dtype: machine.dtype, type: type, using: &generator)
            let query = sequences.stored(on: backend)
            if type == .float32 { sequences.cache.roundToBFloat16() }
            return sequences.attended(Array(sequences.tokens.ids.indices), query: query, on: backend)
        }
        #expect(found[0].allSatisfy { $0.isFinite })
        #expect(haveSameBits(found[0], found[1]))
    }

    @Test(
        "a token's expanded attention has the same bits alone, in any chunk and batch, and with any thread count",
        arguments: instructionSets)
    func bits(instructionSet: String) throws {
        let shape = ExpandedWidths(heads: 3, rank: 20, nope: 11, rotary: 6, value: 18)
        var generator = SeededGenerator(seed: 62)
        let sequences = try ExpandedSequences(shape, lengths: [40, 300, 3], dtype: .bfloat16, using: &generator)
        let all = Array(sequences.tokens.ids.indices)
        let width = shape.heads * shape.value
        let results = try [1, 2, 4].map { threads in
            let backend = try makeBackend(instructionSet, threads: threads)
            defer { backend.stop() }
            let query = sequences.stored(on: backend)
            let whole = sequences.attended(all, query: query, on: backend)
            for size in [1, 7, 100] {
                for start in stride(from: 0, to: all.count, by: size == 1 ? 23 : size) {
                    let end = min(start + size, all.count)
                    let part = sequences.attended(Array(all[start..<end]), query: query, on: backend)
                    #expect(haveSameBits(part, Array(whole[start * width..<end * width])), "from \(start), \(size)")
                }
            }
            return whole
        }
        #expect(haveSameBits(results[0], results[1]))
        #expect(haveSameBits(results[0], results[2]))
    }
}
