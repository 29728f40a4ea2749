// PlanLoads: loads of many kinds, made by formulas, the same on every machine whose exp and log agree.
//
// Each row is scaled to as many tokens and rounded down. A step is a window in time: families drift or jitter with it.

import Foundation

/// A kind of load.
enum LoadFamily: String, CaseIterable {
    /// Weight 1 / rank^s, s per layer from 0.6 to 1.2.
    case zipf
    /// exp(s z), s per layer from 0.5 to 1.3.
    case lognormal
    /// Two topics whose shares swing slowly.
    case domains
    /// A few experts in each layer are 5 to 20 times as busy for four steps.
    case bursty
    /// Eight groups with a factor each.
    case grouped
    /// One expert takes half.
    case hot
    /// Three of five experts get nothing.
    case sparse

    /// Tokens of a layer.
    private static let tokens = 262_144.0

    /// The load at one step; `[L, E]`.
    func load(layers: Int, experts: Int, seed: UInt64, step: Int = 0) -> [Int] {
        (0..<layers).flatMap { layer in
            let key =
                seed &* 1_000_003 &+ UInt64(layer) &* 7919 &+ UInt64(Self.allCases.firstIndex(of: self) ?? 0) &* 104_729
            var base = BenchNormal(seed: key)
            var jitter = BenchNormal(seed: key ^ UInt64(step) &* 0x9E37_79B9)
            var burst = BenchNormal(seed: key ^ UInt64(step / 4) &* 0x85EB_CA6B &+ 1)
            var weights = weights(experts, step, &base, &burst)
            if step > 0 {
                let spread = self == .domains ? 0.08 : 0.05
                for expert in 0..<experts { weights[expert] *= exp(spread * jitter.next()) }
            }
            let total = weights.reduce(0, +)
            return weights.map { Int($0 / total * Self.tokens) }
        }
    }

    private func weights(_ experts: Int, _ step: Int, _ base: inout BenchNormal, _ burst: inout BenchNormal) -> [Double]
    {
        func lognormal(_ spread: Double) -> [Double] { (0..<experts).map { _ in exp(spread * base.next()) } }
        switch self {
        case .zipf:
            let exponent = base.uniform(0.6, 1.2)
            var weights = (0..<experts).map { pow(Double($0 + 1), -exponent) }
            weights.shuffle(using: &base.generator)
            return weights
        case .lognormal: return lognormal(base.uniform(0.5, 1.3))
        case .domains:
            let (first, second) = (lognormal(1.2), lognormal(1.2))
            let (sum, other) = (first.reduce(0, +), second.reduce(0, +))
            let part = 0.5 + 0.5 * sin(2 * Double.pi * Double(step) / 16)
            return (0..<experts).map { part * first[$0] / sum + (1 - part) * second[$0] / other }
        case .bursty:
            var weights = lognormal(0.6)
            let busy = Array(0..<experts).shuffled(using: &burst.generator).prefix(max(1, (experts + 12) / 25))
            for expert in busy { weights[expert] *= burst.uniform(5, 20) }
            return weights
        case .grouped:
            let factors = (0..<8).map { _ in exp(0.7 * base.next()) }
            let size = (experts + 7) / 8
            return lognormal(0.7).enumerated().map { $1 * factors[$0 / size] }
        case .hot:
            var weights = lognormal(0.8)
            let hot = Int(base.uniform(0, Double(experts)))
            weights[hot] = 0
            weights[hot] = weights.reduce(0, +)
            return weights
        case .sparse:
            var weights = lognormal(1)
            for expert in Array(0..<experts).shuffled(using: &base.generator).prefix(experts * 3 / 5) {
                weights[expert] = 0
            }
            return weights
        }
    }
}

/// Normal and uniform numbers.
private struct BenchNormal {
    var generator: BenchGenerator

    init(seed: UInt64) { generator = BenchGenerator(state: seed) }

    /// A standard normal number, by Box and Muller.
    mutating func next() -> Double {
        let (radius, angle) = (uniform(1e-12, 1), uniform(0, 2 * Double.pi))
        return (-2 * log(radius)).squareRoot() * cos(angle)
    }

    mutating func uniform(_ low: Double, _ high: Double) -> Double { Double.random(in: low..<high, using: &generator) }
}
