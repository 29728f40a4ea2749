import Foundation
import Support
import Testing

@testable import Compute

/// Heads of an attention layer.
struct HeadShape: CustomTestStringConvertible, Sendable {
    var heads: Int
    var kvHeads: Int
    var dimension: Int
    var width: Int { (heads + 2 * kvHeads) * dimension }
    var testDescription: String { "\(heads) heads on \(kvHeads) of \(dimension)" }
}

/// Sequences of several lengths whose positions lie on pages in no order.
private struct TestSequences {
    let shape: HeadShape
    let lengths: [Int]
    var tokens: TestTokens
    let cache: KVCache
    /// Queries, keys and values as they go into `rotate`, `[N, width]`.
    let qkv: [Float]

    init(
        _ shape: HeadShape, lengths: [Int], type: CacheType = .float32, using generator: inout SeededGenerator
    ) {
        self.shape = shape
        self.lengths = lengths
        tokens = TestTokens(scattering: lengths, using: &generator)
        cache = KVCache(
            layers: 2, pages: tokens.pageCount,
            shape: CacheShape(heads: shape.kvHeads, headDimension: shape.dimension, type: type))
        for buffer in cache.keys + cache.values {
            for index in 0..<buffer.rows * buffer.width { buffer.floats[index] = .nan }
        }
        qkv = randomFloats(tokens.ids.count * shape.width, using: &generator)
    }

    /// Rotates all tokens; their queries, keys and values afterwards.
    func rotated(on backend: CPUBackend, angles: RotaryTable) -> Buffer {
        let buffer = Buffer(qkv, width: shape.width)
        tokens.withLayout {
            backend.rotate(buffer, tokens: $0, cache: cache, layer: 1, heads: shape.heads, angles: angles)
        }
        return buffer
    }

    /// Attention of the tokens `chosen` alone, in one call.
    func attended(_ chosen: [Int], rotated: Buffer, on backend: CPUBackend) -> [Float] {
        var part = tokens
        part.ids = chosen.map { tokens.ids[$0] }
        part.positions = chosen.map { tokens.positions[$0] }
        part.sequences = chosen.map { tokens.sequences[$0] }
        let queries = Buffer(chosen.flatMap { Array(rotated[row: $0]) }, width: shape.width)
        let out = Buffer(rows: chosen.count, width: shape.heads * shape.dimension, repeating: .nan)
        part.withLayout {
            backend.attend(
                queries, tokens: $0, cache: cache, layer: 1, heads: shape.heads,
                scale: 1 / Float(shape.dimension).squareRoot(), out: out)
        }
        return out.values(rows: chosen.count)
    }

    /// Full attention of one token in Double, over rotated queries and keys.
    func reference(_ token: Int, rotated: Buffer) -> [Double] {
        let dimension = shape.dimension
        let (position, scale) = (Int(tokens.positions[token]), 1 / Double(dimension).squareRoot())
        let sequence = rotated.floats + (token - position) * shape.width
        return (0..<shape.heads).flatMap { head in
            let query = sequence + position * shape.width + head * dimension
            let key = (shape.heads + head * shape.kvHeads / shape.heads) * dimension
            var total = 0.0
            var sums = [Double](repeating: 0, count: dimension)
            for other in 0...position {
                let row = sequence + other * shape.width
                var score = 0.0
                for d in 0..<dimension { score += Double(query[d]) * Double(row[key + d]) }
                let weight = exp(score * scale)
                total += weight
                let value = row + key + shape.kvHeads * dimension
                for d in 0..<dimension { sums[d] += weight * Double(value[d]) }
            }
            return sums.map { $0 / total }
        }
    }

    /// Position `position` of head `head` in a page, as the cache's layout says.
    func key(_ token: Int, head: Int) -> [Float] {
        let (page, slot) = place(token)
        let keys = cache.keys[1][row: page]
        return (0..<shape.dimension).map { keys[(head * shape.dimension + $0) * KVCache.pageSize + slot] }
    }

    func value(_ token: Int, head: Int) -> [Float] {
        let (page, slot) = place(token)
        let first = (head * KVCache.pageSize + slot) * shape.dimension
        return Array(cache.values[1][row: page][first..<first + shape.dimension])
    }

    private func place(_ token: Int) -> (page: Int, slot: Int) {
        let position = Int(tokens.positions[token])
        let row = Int(tokens.sequences[token]) * tokens.tableStride
        return (Int(tokens.pageTables[row + position / KVCache.pageSize]), position % KVCache.pageSize)
    }
}

@Suite struct AttentionKernelTests {
    static let shapes = [
        HeadShape(heads: 1, kvHeads: 1, dimension: 2), HeadShape(heads: 4, kvHeads: 2, dimension: 6),
        HeadShape(heads: 3, kvHeads: 1, dimension: 20), HeadShape(heads: 2, kvHeads: 2, dimension: 128),
    ]

    @Test("no tokens are no work") func empty() throws {
        let backend = try #require(CPUBackend(threads: 1))
        let shape = HeadShape(heads: 2, kvHeads: 1, dimension: 4)
        let cache = KVCache(layers: 1, pages: 1, shape: CacheShape(heads: 1, headDimension: 4))
        let qkv = Buffer(rows: 1, width: shape.width, repeating: 1)
        let out = Buffer(rows: 1, width: 8, repeating: 7)
        TestTokens(ids: [0], positions: [0], sequences: [0]).withLayout { layout in
            var tokens = layout
            tokens.count = 0
            let angles = RotaryTable(positions: 1, dimension: 4, base: 10000)
            backend.rotate(qkv, tokens: tokens, cache: cache, layer: 0, heads: 2, angles: angles)
            backend.attend(qkv, tokens: tokens, cache: cache, layer: 0, heads: 2, scale: 1, out: out)
        }
        #expect(out.values(rows: 1) == [Float](repeating: 7, count: 8))
    }

    @Test("pair i of position p turns by p * base^(-2 i / dimension)", arguments: [2, 6, 20, 128])
    func angles(dimension: Int) {
        let table = RotaryTable(positions: 300, dimension: dimension, base: 10000)
        for position in 0..<300 {
            for pair in 0..<dimension / 2 {
                let angle = Double(position) * pow(10000, -2 * Double(pair) / Double(dimension))
                // The angle in float32 is off by some 4 half ulp of its size.
                let tolerance = (1 + angle) * 4 * 0x1p-24
                let index = position * dimension / 2 + pair
                #expect(abs(Double(table.cosines.floats[index]) - cos(angle)) < tolerance)
                #expect(abs(Double(table.sines.floats[index]) - sin(angle)) < tolerance)
            }
        }
    }

    @Test(
        "a cache in bfloat16 gives the bits of one in float32 that holds the same numbers", arguments: instructionSets,
        shapes)
    func narrowCache(instructionSet: String, shape: HeadShape) throws {
        let backend = try makeBackend(instructionSet, threads: 2)
        defer { backend.stop() }
        let angles = RotaryTable(positions: 300, dimension: shape.dimension, base: 10000)
        let found = CacheType.allCases.map { type in
            var generator = SeededGenerator(seed: 35)
            let sequences = TestSequences(shape, lengths: [5, 300, 130], type: type, using: &generator)
            let rotated = sequences.rotated(on: backend, angles: angles)
            if type == .float32 { sequences.cache.roundToBFloat16() }
            return sequences.attended(Array(sequences.tokens.ids.indices), rotated: rotated, on: backend)
        }
        #expect(found[0].allSatisfy { $0.isFinite })
        #expect(haveSameBits(found[0], found[1]))
    }

    @Test(
        "stretched pairs turn slower, fast ones as before, those between partly",
        arguments: [(64, 4096, Float(40), Float(1)), (8, 64, 4, 1.25), (6, 100, 2.5, 1)])
    func stretchedAngles(dimension: Int, original: Int, factor: Float, size: Float) {
        var yarn = YaRN(factor: factor, originalPositions: original)
        yarn.angleFactor = size
        let table = RotaryTable(positions: 200, dimension: dimension, base: 10000, scaling: .yarn(yarn))
        func turning(_ turns: Double) -> Double {
            Double(dimension) * log(Double(original) / (turns * 2 * .pi)) / (2 * log(10000))
        }
        let low = max(turning(32).rounded(.down), 0)
        let high = min(turning(1).rounded(.up), Double(dimension - 1))
        for pair in 0..<dimension / 2 {
            let frequency = pow(10000, -2 * Double(pair) / Double(dimension))
            let ramp = min(max((Double(pair) - low) / (high == low ? 0.001 : high - low), 0), 1)
            let stretched = frequency * (1 - ramp) + frequency / Double(factor) * ramp
            for position in [0, 1, 17, 199] {
                let angle = Double(position) * stretched
                let tolerance = (1 + angle) * 12 * 0x1p-24 * Double(size)
                let index = position * dimension / 2 + pair
                #expect(abs(Double(table.cosines.floats[index]) - cos(angle) * Double(size)) < tolerance)
                #expect(abs(Double(table.sines.floats[index]) - sin(angle) * Double(size)) < tolerance)
            }
        }
    }

    @Test(
        "rotate turns queries and keys, and puts keys and values where they belong", arguments: instructionSets, shapes)
    func rotate(instructionSet: String, shape: HeadShape) throws {
        let backend = try makeBackend(instructionSet, threads: 2)
        defer { backend.stop() }
        var generator = SeededGenerator(seed: 31)
        let sequences = TestSequences(shape, lengths: [1, 16, 37], using: &generator)
        let angles = RotaryTable(positions: 64, dimension: shape.dimension, base: 10000)
        let rotated = sequences.rotated(on: backend, angles: angles)
        let half = shape.dimension / 2
        for token in sequences.tokens.ids.indices {
            let position = Int(sequences.tokens.positions[token])
            let before = sequences.qkv[token * shape.width..<(token + 1) * shape.width].map(Double.init)
            func turned(_ head: Int) -> [Double] {
                (0..<shape.dimension).map { index in
                    let x = before[head * shape.dimension + index]
                    let other = before[head * shape.dimension + (index + half) % shape.dimension]
                    let cosine = Double(angles.cosines.floats[position * half + index % half])
                    let sine = Double(angles.sines.floats[position * half + index % half])
                    return x * cosine + (index < half ? -other : other) * sine
                }
            }
            // Three roundings of numbers below 2.
            func isClose(_ found: [Float], _ expected: [Double]) -> Bool {
                zip(found, expected).allSatisfy { abs(Double($0) - $1) < 3 * 0x1p-24 }
            }
            let queries = rotated[row: token].prefix(shape.heads * shape.dimension)
            #expect(isClose(Array(queries), (0..<shape.heads).flatMap(turned)))
            for head in 0..<shape.kvHeads {
                #expect(isClose(sequences.key(token, head: head), turned(shape.heads + head)))
                let value = before.dropFirst((shape.heads + shape.kvHeads + head) * shape.dimension)
                #expect(sequences.value(token, head: head).map(Double.init) == Array(value.prefix(shape.dimension)))
            }
        }
    }

    @Test("attend equals full attention at every context", arguments: instructionSets, shapes)
    func attend(instructionSet: String, shape: HeadShape) throws {
        let backend = try makeBackend(instructionSet, threads: 2)
        defer { backend.stop() }
        var generator = SeededGenerator(seed: 32)
        let sequences = TestSequences(shape, lengths: [5, 300, 130], using: &generator)
        let angles = RotaryTable(positions: 300, dimension: shape.dimension, base: 10000)
        let rotated = sequences.rotated(on: backend, angles: angles)
        for (token, position) in sequences.tokens.positions.enumerated() {
            for head in 0..<shape.kvHeads {  // the reference reads keys beside the queries
                let key = sequences.key(token, head: head)
                for (d, x) in key.enumerated() {
                    rotated[row: token][(shape.heads + head) * shape.dimension + d] = x
                }
            }
            #expect(position < 300)
        }
        // Wide heads are slow in the reference: the edges of pages and blocks only.
        let edges: Set<Int32> = [0, 1, 14, 15, 16, 17, 126, 127, 128, 129, 254, 255, 256, 257, 299]
        let chosen = sequences.tokens.positions.indices.filter {
            shape.dimension <= 20 && $0.isMultiple(of: 3) || edges.contains(sequences.tokens.positions[$0])
        }
        let found = sequences.attended(chosen, rotated: rotated, on: backend)
        let width = shape.heads * shape.dimension
        for (index, token) in chosen.enumerated() {
            let row = Array(found[index * width..<(index + 1) * width])
            // Scores and sums of up to 300 terms in float32, exponentials good to 2 ulp.
            let distance = relativeDistance(row, sequences.reference(token, rotated: rotated))
            #expect(distance < 5e-6, "context \(sequences.tokens.positions[token] + 1)")
        }
    }

    @Test(
        "a token's attention has the same bits alone, in a batch, and with any thread count", arguments: instructionSets
    )
    func bits(instructionSet: String) throws {
        let shape = HeadShape(heads: 4, kvHeads: 2, dimension: 20)
        var generator = SeededGenerator(seed: 33)
        let sequences = TestSequences(shape, lengths: [40, 300, 3], using: &generator)
        let angles = RotaryTable(positions: 300, dimension: shape.dimension, base: 10000)
        let all = Array(sequences.tokens.ids.indices)
        let results = try [1, 2, 4].map { threads in
            let backend = try makeBackend(instructionSet, threads: threads)
            defer { backend.stop() }
            let rotated = sequences.rotated(on: backend, angles: angles)
            let whole = sequences.attended(all, rotated: rotated, on: backend)
            let single = all.filter { $0.isMultiple(of: 7) }
            let width = shape.heads * shape.dimension
            for token in single {
                let alone = sequences.attended([token], rotated: rotated, on: backend)
                #expect(haveSameBits(alone, Array(whole[token * width..<(token + 1) * width])), "token \(token)")
            }
            return whole
        }
        #expect(haveSameBits(results[0], results[1]))
        #expect(haveSameBits(results[0], results[2]))
    }
}
