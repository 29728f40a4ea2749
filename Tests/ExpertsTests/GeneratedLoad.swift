// GeneratedLoad: the loads of Tests/Golden/eplb/gen_load.py, made here, so that whole models can be planned for.
//
// The random source is NumPy's PCG64 behind its SeedSequence; every distribution is built from it as there.

import Experts
import Foundation
import Support
import Testing

/// A kind of load, of one size and seed.
struct GeneratedLoad: Decodable {
    var family: String
    var layers: Int
    var experts: Int
    var seed: Int
    var step: Int

    /// The load at a step; `[L, E]`.
    func rows(step: Int) -> [[Int]] { (0..<layers).map { row(layer: $0, step: step) } }

    private func row(layer: Int, step: Int) -> [Int] {
        let key = "\(family)/\(seed)/\(layer)/\(experts)"
        var base = GeneratedStream("base/\(key)")
        var later = GeneratedStream("step/\(key)/\(step)")
        func exps(_ spread: Double, _ stream: inout GeneratedStream, count: Int? = nil) -> [Double] {
            stream.normal(count ?? experts).map { exp(spread * $0) }
        }
        let jitter = step > 0 ? exps(0.05, &later) : [Double](repeating: 1, count: experts)
        var weights: [Double]
        switch family {
        case "zipf":
            let exponent = 0.6 + 0.6 * base.uniform(1)[0]
            weights = jitter
            for (rank, expert) in base.permutation(experts).enumerated() {
                weights[expert] = 1 / pow(Double(rank + 1), exponent) * jitter[expert]
            }
        case "lognormal":
            let spread = 0.5 + 0.8 * base.uniform(1)[0]
            weights = zip(exps(spread, &base), jitter).map(*)
        case "domains":
            // The jitter above came from the same stream.
            let (first, second) = (exps(1.2, &base), exps(1.2, &base))
            let part = 0.5 + 0.5 * sin(2 * Double.pi * Double(step) / 16)
            let (sum, other) = (first.reduce(0, +), second.reduce(0, +))
            let noise = exps(0.08, &later)
            weights = (0..<experts).map { (part * first[$0] / sum + (1 - part) * second[$0] / other) * noise[$0] }
        case "bursty":
            weights = exps(0.6, &base)
            var burst = GeneratedStream("burst/\(seed)/\(layer)/\(experts)/\(step / 4)")
            let busy = burst.permutation(experts).prefix(max(1, Int((0.04 * Double(experts)).rounded())))
            for (expert, factor) in zip(busy, burst.uniform(busy.count)) { weights[expert] *= 5 + 15 * factor }
            weights = zip(weights, exps(0.05, &later)).map(*)
        case "uniform":
            weights = base.normal(experts).map { max(0.5, 1 + 0.03 * $0) }
            if step > 0 { weights = zip(weights, exps(0.01, &later)).map(*) }
        case "hot":
            weights = zip(exps(0.8, &base), jitter).map(*)
            let hot = Int(base.uniform(1)[0] * Double(experts))
            weights[hot] = 0
            weights[hot] = Self.sum(weights[...])
        case "sparse":
            weights = zip(exps(1, &base), jitter).map(*)
            for expert in base.permutation(experts).prefix(Int(0.6 * Double(experts))) { weights[expert] = 0 }
        case "grouped":
            let factors = exps(0.7, &base, count: 8)
            let size = (experts + 7) / 8
            weights = exps(0.7, &base).enumerated().map { factors[$0 / size] * $1 * jitter[$0] }
        case "ties": return base.uniform(experts).map { Int(8 * $0) }
        default: return []
        }
        let total = Self.sum(weights[...])
        return weights.map { Int($0 / total * 262_144) }
    }
}

extension GeneratedLoad {
    /// The sum in NumPy's order, which decides what is rounded down where half of all goes to one expert.
    private static func sum(_ values: ArraySlice<Double>) -> Double {
        if values.count > 128 {
            let half = values.count / 2 / 8 * 8
            return sum(values.prefix(half)) + sum(values.dropFirst(half))
        }
        let whole = values.count / 8 * 8
        var lanes = [Double](repeating: 0, count: 8)
        for (index, value) in values.prefix(whole).enumerated() { lanes[index % 8] += value }
        while lanes.count > 1 { lanes = stride(from: 0, to: lanes.count, by: 2).map { lanes[$0] + lanes[$0 + 1] } }
        return values.dropFirst(whole).reduce(lanes[0], +)
    }
}

/// Numbers as NumPy's PCG64 gives them, seeded by the FNV-1a hash of a key.
private struct GeneratedStream {
    private var state: UInt128 = 0
    private let increment: UInt128

    init(_ key: String) {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in key.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        let words = Self.seedWords(hash)
        increment = (UInt128(words[2]) << 64 | UInt128(words[3])) << 1 | 1
        advance()
        state &+= UInt128(words[0]) << 64 | UInt128(words[1])
        advance()
    }

    private mutating func advance() {
        state = state &* (0x2360_ED05_1FC6_5DA4 << 64 | 0x4385_DF64_9FCC_F645) &+ increment
    }

    /// NumPy's SeedSequence, four words of it.
    private static func seedWords(_ entropy: UInt64) -> [UInt64] {
        var constant: UInt32 = 0x43b0_d7e5
        func hashed(_ value: UInt32, _ factor: UInt32) -> UInt32 {
            var value = value ^ constant
            constant &*= factor
            value &*= constant
            return value ^ value >> 16
        }
        var pool = [UInt32(truncatingIfNeeded: entropy), UInt32(truncatingIfNeeded: entropy >> 32), 0, 0]
            .map { hashed($0, 0x931e_8875) }
        for source in 0..<4 {
            for target in 0..<4 where target != source {
                let mixed = pool[target] &* 0xca01_f9dd &- hashed(pool[source], 0x931e_8875) &* 0x4973_f715
                pool[target] = mixed ^ mixed >> 16
            }
        }
        constant = 0x8b51_f9dd
        let words = (0..<8).map { UInt64(hashed(pool[$0 % 4], 0x58f3_8ded)) }
        return (0..<4).map { words[2 * $0] | words[2 * $0 + 1] << 32 }
    }

    /// Numbers in 0 ..< 1.
    mutating func uniform(_ count: Int) -> [Double] {
        (0..<count).map { _ in
            advance()
            let folded = UInt64(truncatingIfNeeded: state >> 64) ^ UInt64(truncatingIfNeeded: state)
            let turn = UInt64(truncatingIfNeeded: state >> 122)
            let word = folded >> turn | folded << ((64 - turn) & 63)
            return (Double(word >> 11) + 0.5) / 9_007_199_254_740_992
        }
    }

    /// Standard normal numbers.
    mutating func normal(_ count: Int) -> [Double] {
        let (radii, angles) = (uniform(count), uniform(count))
        return zip(radii, angles).map { (-2 * log($0)).squareRoot() * cos(2 * Double.pi * $1) }
    }

    mutating func permutation(_ count: Int) -> [Int] {
        let keys = uniform(count)
        return keys.indices.sorted { (keys[$0], $0) < (keys[$1], $1) }
    }
}

/// A case of quality_targets.json: a generated load, and what is known about plans for it.
struct QualityTarget: Decodable, CustomTestStringConvertible {
    struct File: Decodable { var cases: [QualityTarget] }

    var name: String
    var source: GeneratedLoad
    var slots: Int
    var ranks: Int
    var sum: Int
    var head: [Int]
    var bound: Double
    var reference: Double
    var referenceLeast: Double
    var best: Double
    var bestLeast: Double

    enum CodingKeys: String, CodingKey {
        case name
        case source = "load_source"
        case slots = "num_physical"
        case ranks = "num_gpus"
        case sum = "checksum_sum"
        case head = "checksum_layer0_head"
        case bound = "bound_mean"
        case reference = "reference_mean"
        case referenceLeast = "reference_min"
        case best = "best_known_mean"
        case bestLeast = "best_known_min"
    }

    var testDescription: String { name }

    /// A small model whose bound is below 1, and one whose bound is not.
    static let bounded = all.filter { ["qwen15_moe_g8_sparse", "dsv2_lite_g8_hot"].contains($0.name) }
    /// Those of small models.
    static let small = all.filter { $0.source.experts <= 128 && $0.source.family != "ties" }

    /// The load, which must be the one that the target is for.
    func load() throws -> LoadMatrix {
        let rows = source.rows(step: source.step)
        try #require(rows.joined().reduce(0, +) == sum && Array(rows[0].prefix(head.count)) == head, "\(name)")
        return try LoadMatrix(rows: rows)
    }

    private static let all = (try? Golden.decode(File.self, "eplb/quality_targets.json"))?.cases ?? []
}
