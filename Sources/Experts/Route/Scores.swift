// Scores: softmax and the logistic function, sixteen logits at a time.
//
// Method: exp by powers of two and a polynomial of degree six, after Cody and Waite; relative error below 2e-7 on
//         [-87, 0], 0 below. No fused multiply-add, so that every machine computes the same bits.

/// Sixteen logits or scores.
typealias Lanes16 = SIMD16<Float>

/// The scores of one row, computed sixteen at a time when asked for.
struct RowScores {
    private let scoring: GateRule.Scoring
    private var maximum = -Float.infinity
    private var total: Float = 1

    /// The scores of `logits` [E]; without `wantsTotal`, softmax scores lack the division by their sum over the row.
    @inline(__always)
    init(_ logits: UnsafePointer<Float>, experts: Int, scoring: GateRule.Scoring, wantsTotal: Bool) {
        self.scoring = scoring
        guard scoring == .softmax else { return }
        var highest = Lanes16(repeating: -.infinity)
        var expert = 0
        while expert < experts {
            let chunk = Self.load(logits, expert, experts)
            highest.replace(with: chunk, where: chunk .> highest)
            expert &+= 16
        }
        for lane in 0..<16 where highest[lane] > maximum { maximum = highest[lane] }
        guard wantsTotal else { return }
        var sums = Lanes16()
        expert = 0
        while expert < experts {
            var scores = exponentials(Self.load(logits, expert, experts))
            if experts &- expert < 16 {
                for lane in (experts &- expert)..<16 { scores[lane] = 0 }
            }
            sums = sums + scores
            expert &+= 16
        }
        total = Self.sum(sums)
    }

    /// Experts `first ..< first + 16` of a row, -infinity beyond its end.
    @inline(__always)
    static func load(_ row: UnsafePointer<Float>, _ first: Int, _ experts: Int) -> Lanes16 {
        if first &+ 16 <= experts {
            return UnsafeRawPointer(row + first).loadUnaligned(as: Lanes16.self)
        }
        var chunk = Lanes16(repeating: -.infinity)
        for lane in 0..<(experts &- first) { chunk[lane] = row[first &+ lane] }
        return chunk
    }

    /// The scores of sixteen logits of the row.
    @inline(__always)
    func callAsFunction(_ logits: Lanes16) -> Lanes16 {
        switch scoring {
        case .softmax: return exponentials(logits) / total
        case .sigmoid:
            let negative = logits .< Lanes16()
            let small = exponential((logits).replacing(with: -logits, where: .!negative))
            let one = Lanes16(repeating: 1)
            let scores = one.replacing(with: small, where: negative) / (one + small)
            return scores.replacing(with: 0, where: logits .!= logits)
        }
    }

    /// exp(logit - maximum), with infinities at their limits and NaN as -infinity.
    @inline(__always)
    private func exponentials(_ logits: Lanes16) -> Lanes16 {
        if maximum == -.infinity { return Lanes16(repeating: 1) }
        let highest = Lanes16(repeating: maximum)
        return exponential((logits - highest).replacing(with: 0, where: logits .== highest))
    }

    /// exp(x) for x at most 0; 0 for NaN.
    @inline(__always)
    private func exponential(_ x: Lanes16) -> Lanes16 {
        // Adding and subtracting 1.5 · 2^23 rounds to an integer, which the sum's low bits then hold.
        let rounder = Lanes16(repeating: 12_582_912)
        let shifted = x * 1.442_695 + rounder
        let power = shifted - rounder
        let rest = (x - power * 0.693_359_375) - power * -2.121_944_4e-4
        var value = Lanes16(repeating: 1.987_569_1e-4)
        value = value * rest + Lanes16(repeating: 1.398_199_9e-3)
        value = value * rest + Lanes16(repeating: 8.333_452e-3)
        value = value * rest + Lanes16(repeating: 4.166_579_6e-2)
        value = value * rest + Lanes16(repeating: 0.166_666_66)
        value = value * rest + Lanes16(repeating: 0.5)
        value = value * (rest * rest) + rest + Lanes16(repeating: 1)
        let bits = unsafeBitCast(value, to: SIMD16<Int32>.self)
        let scaled = unsafeBitCast(bits &+ (unsafeBitCast(shifted, to: SIMD16<Int32>.self) &<< 23), to: Lanes16.self)
        return Lanes16().replacing(with: scaled, where: x .>= Lanes16(repeating: -87))
    }

    /// The sum of sixteen lanes, always in the same order.
    @inline(__always)
    private static func sum(_ lanes: Lanes16) -> Float {
        let eight = lanes.lowHalf + lanes.highHalf
        let four = eight.lowHalf + eight.highHalf
        return (four[0] + four[2]) + (four[1] + four[3])
    }
}
