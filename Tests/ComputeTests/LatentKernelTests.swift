import Foundation
import Support
import Testing

@testable import Compute

/// Widths of a latent attention layer.
struct LatentWidths: CustomTestStringConvertible, Sendable {
    var heads: Int
    var rank: Int
    var rotary: Int
    var width: Int { rank + rotary }
    var testDescription: String { "\(heads) heads over \(rank) + \(rotary)" }
}

/// Sequences whose latents lie on pages in no order.
private struct LatentSequences {
    let shape: LatentWidths
    var tokens: TestTokens
    let cache: KVCache
    let angles: RotaryTable
    let latent, keyRotary, queryRotary: [Float]
    /// The absorbed parts of the queries; what the rotated parts become is marked.
    let query: [Float]

    init(
        _ shape: LatentWidths, lengths: [Int], type: CacheType = .float32, using generator: inout SeededGenerator
    ) {
        self.shape = shape
        tokens = TestTokens(scattering: lengths, using: &generator)
        cache = KVCache(
            layers: 2, pages: tokens.pageCount,
            shape: CacheShape(heads: 1, headDimension: shape.width, hasValues: false, type: type))
        for buffer in cache.keys {
            for index in 0..<buffer.rows * buffer.width { buffer.floats[index] = .nan }
        }
        angles = RotaryTable(positions: lengths.max() ?? 0, dimension: shape.rotary, base: 10000)
        let count = tokens.ids.count
        tokens.promptStart = count
        latent = randomFloats(count * shape.rank, using: &generator)
        keyRotary = randomFloats(count * shape.rotary, using: &generator)
        queryRotary = randomFloats(count * shape.heads * shape.rotary, using: &generator)
        let absorbed = randomFloats(count * shape.heads * shape.width, using: &generator)
        query = absorbed.enumerated().map { $0.offset % shape.width < shape.rank ? 3 * $0.element : .nan }
    }

    /// Stores all tokens; their whole queries.
    func stored(on backend: CPUBackend) -> Buffer {
        let query = Buffer(query, width: shape.heads * shape.width)
        tokens.withLayout {
            backend.storeLatent(
                Buffer(latent, width: shape.rank), keyRotary: Buffer(keyRotary, width: shape.rotary),
                query: Buffer(queryRotary, width: shape.heads * shape.rotary), absorbed: query, tokens: $0,
                cache: cache, layer: 1, angles: angles)
        }
        return query
    }

    /// Attention of the tokens `chosen` alone, in one call.
    func attended(_ chosen: [Int], query: Buffer, on backend: CPUBackend) -> [Float] {
        var part = tokens
        part.ids = chosen.map { tokens.ids[$0] }
        part.positions = chosen.map { tokens.positions[$0] }
        part.sequences = chosen.map { tokens.sequences[$0] }
        part.promptStart = chosen.count
        let rows = Buffer(chosen.flatMap { Array(query[row: $0]) }, width: query.width)
        let out = Buffer(rows: chosen.count, width: shape.heads * shape.rank, repeating: .nan)
        part.withLayout {
            backend.attendLatent(
                rows, tokens: $0, cache: cache, layer: 1, heads: shape.heads, scale: 0.3, out: out)
        }
        return out.values(rows: chosen.count)
    }

    /// `values` of token `row`, rotated by its position, in double precision.
    func turned(_ values: ArraySlice<Float>, position: Int) -> [Double] {
        let half = shape.rotary / 2
        let x = values.map(Double.init)
        return (0..<shape.rotary).map { index in
            let cosine = Double(angles.cosines.floats[position * half + index % half])
            let sine = Double(angles.sines.floats[position * half + index % half])
            return x[index] * cosine + (index < half ? -x[index + half] : x[index - half]) * sine
        }
    }

    func reference(_ token: Int) -> [Double] {
        let position = Int(tokens.positions[token])
        let first = token - position
        let keys = (first...token).map { other -> [Double] in
            latent[other * shape.rank..<(other + 1) * shape.rank].map(Double.init)
                + turned(
                    keyRotary[other * shape.rotary..<(other + 1) * shape.rotary],
                    position: Int(tokens.positions[other]))
        }
        return (0..<shape.heads).flatMap { head -> [Double] in
            let start = (token * shape.heads + head) * shape.width
            let rotary = (token * shape.heads + head) * shape.rotary
            let q =
                query[start..<start + shape.rank].map(Double.init)
                + turned(queryRotary[rotary..<rotary + shape.rotary], position: position)
            var total = 0.0
            var sums = [Double](repeating: 0, count: shape.rank)
            for key in keys {
                var score = 0.0
                for d in 0..<shape.width { score += q[d] * key[d] }
                let weight = exp(score * 0.3)
                total += weight
                for d in 0..<shape.rank { sums[d] += weight * key[d] }
            }
            return sums.map { $0 / total }
        }
    }
}

@Suite struct LatentKernelTests {
    static let shapes = [
        LatentWidths(heads: 1, rank: 1, rotary: 2), LatentWidths(heads: 5, rank: 7, rotary: 6),
        LatentWidths(heads: 4, rank: 16, rotary: 4), LatentWidths(heads: 7, rank: 33, rotary: 10),
    ]

    @Test("latent attention equals full attention over latents at every context", arguments: instructionSets, shapes)
    func attend(instructionSet: String, shape: LatentWidths) throws {
        let backend = try makeBackend(instructionSet, threads: 2)
        defer { backend.stop() }
        var generator = SeededGenerator(seed: 51)
        let sequences = LatentSequences(shape, lengths: [5, 300, 130], using: &generator)
        let query = sequences.stored(on: backend)
        let edges: Set<Int32> = [0, 1, 14, 15, 16, 17, 126, 127, 128, 129, 254, 255, 256, 257, 299]
        let chosen = sequences.tokens.positions.indices.filter {
            $0.isMultiple(of: 13) || edges.contains(sequences.tokens.positions[$0])
        }
        let found = sequences.attended(chosen, query: query, on: backend)
        let width = shape.heads * shape.rank
        for (index, token) in chosen.enumerated() {
            // Scores and sums of up to 300 terms in float32, exponentials good to 2 ulp.
            let distance = relativeDistance(
                Array(found[index * width..<(index + 1) * width]), sequences.reference(token))
            #expect(distance < 5e-6, "context \(sequences.tokens.positions[token] + 1)")
        }
    }

    @Test(
        "a token's latent attention has the same bits alone, in a batch, and with any thread count",
        arguments: instructionSets)
    func bits(instructionSet: String) throws {
        let shape = LatentWidths(heads: 7, rank: 20, rotary: 6)
        var generator = SeededGenerator(seed: 52)
        let sequences = LatentSequences(shape, lengths: [40, 300, 3], using: &generator)
        let all = Array(sequences.tokens.ids.indices)
        let results = try [1, 2, 4].map { threads in
            let backend = try makeBackend(instructionSet, threads: threads)
            defer { backend.stop() }
            let query = sequences.stored(on: backend)
            let whole = sequences.attended(all, query: query, on: backend)
            let width = shape.heads * shape.rank
            for token in all where token.isMultiple(of: 11) {
                let alone = sequences.attended([token], query: query, on: backend)
                #expect(haveSameBits(alone, Array(whole[token * width..<(token + 1) * width])), "token \(token)")
            }
            return whole
        }
        #expect(haveSameBits(results[0], results[1]))
        #expect(haveSameBits(results[0], results[2]))
    }

    @Test(
        "latents in bfloat16 give the bits of those in float32 that are the same numbers", arguments: instructionSets,
        shapes)
    func narrowCache(instructionSet: String, shape: LatentWidths) throws {
        let backend = try makeBackend(instructionSet, threads: 2)
        defer { backend.stop() }
        let found = CacheType.allCases.map { type in
            var generator = SeededGenerator(seed: 53)
            let sequences = LatentSequences(shape, lengths: [5, 300, 130], type: type, using: &generator)
            let query = sequences.stored(on: backend)
            if type == .float32 { sequences.cache.roundToBFloat16() }
            return sequences.attended(Array(sequences.tokens.ids.indices), query: query, on: backend)
        }
        #expect(found[0].allSatisfy { $0.isFinite })
        #expect(haveSameBits(found[0], found[1]))
    }

    @Test("tokens of prompts are not computed over latents") func empty() throws {
        let backend = try #require(CPUBackend(threads: 1))
        let cache = KVCache(layers: 1, pages: 1, shape: CacheShape(heads: 1, headDimension: 5, hasValues: false))
        let out = Buffer(rows: 1, width: 6, repeating: 7)
        TestTokens(ids: [0], positions: [0], sequences: [0]).withLayout { layout in
            backend.attendLatent(
                Buffer(rows: 1, width: 10, repeating: 1), tokens: layout, cache: cache, layer: 0, heads: 2, scale: 1,
                out: out)
        }
        #expect(out.values(rows: 1) == [Float](repeating: 7, count: 6))
    }

    @Test("the cache of a position without values takes a key only") func cacheSize() {
        #expect(CacheShape(heads: 1, headDimension: 576, hasValues: false).bytesPerToken == 2304)
        #expect(CacheShape(heads: 4, headDimension: 128).bytesPerToken == 4096)
        #expect(CacheShape(heads: 4, headDimension: 128, type: .bfloat16).bytesPerToken == 2048)
    }
}
