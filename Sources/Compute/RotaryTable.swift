// RotaryTable: the angles by which rotary position embedding turns queries and keys, computed once.

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Darwin
#endif

/// Cosines and sines of the rotary position embedding (Su et al., arXiv:2104.09864), `[positions, dimension / 2]`.
public struct RotaryTable: Sendable {
    let cosines: Buffer
    let sines: Buffer

    /// Pair i of position p turns by `p * base^(-2 i / dimension)`, or more slowly where `scaling` stretches it.
    public init(positions: Int, dimension: Int, base: Float, scaling: RotaryScaling? = nil) {
        let half = dimension / 2
        cosines = Buffer(rows: positions, width: half)
        sines = Buffer(rows: positions, width: half)
        for pair in 0..<half {
            var (frequency, size): (Float, Float) = (1 / powf(base, Float(2 * pair) / Float(dimension)), 1)
            switch scaling {
            case nil: break
            case .linear(let factor): frequency /= factor
            case .yarn(let yarn):
                let share = yarn.stretched(pair: pair, dimension: dimension, base: base)
                frequency = frequency / yarn.factor * share + frequency * (1 - share)
                size = yarn.angleFactor
            }
            for position in 0..<positions {
                let angle = Float(position) * frequency
                cosines.floats[position * half + pair] = cosf(angle) * size
                sines.floats[position * half + pair] = sinf(angle) * size
            }
        }
    }
}

/// How a model is stretched to longer sequences than it was first trained for.
public enum RotaryScaling: Sendable, Equatable {
    /// All pairs turn so many times slower (Chen et al., arXiv:2306.15595).
    case linear(Float)
    /// Slow pairs do.
    case yarn(YaRN)
}

/// A stretch in which slow pairs turn `factor` times slower, fast ones as before, and those between partly (Peng et al.,
/// arXiv:2309.00071).
public struct YaRN: Sendable, Equatable {
    /// By how much sequences became longer.
    public var factor: Float
    /// The length before.
    public var originalPositions: Int
    /// Pairs that turn at least this often within the original length are fast.
    public var fastTurns: Float = 32
    /// Pairs that turn at most this often are slow.
    public var slowTurns: Float = 1
    /// Multiplies cosines and sines, and so scales the rotated part of a score by its square.
    public var angleFactor: Float = 1

    /// A stretch by `factor` from `originalPositions`.
    public init(factor: Float, originalPositions: Int) {
        self.factor = factor
        self.originalPositions = originalPositions
    }

    /// `0.1 * weight * ln factor + 1`: the size that keeps attention as sharp as it was.
    public func size(_ weight: Float) -> Float { factor <= 1 ? 1 : 0.1 * weight * logf(factor) + 1 }

    /// The share of pair `pair` that is stretched, from 0 (fast) to 1 (slow).
    func stretched(pair: Int, dimension: Int, base: Float) -> Float {
        /// The pair that turns `turns` times within the original length.
        func pairTurning(_ turns: Float) -> Float {
            Float(dimension) * logf(Float(originalPositions) / (turns * 2 * .pi)) / (2 * logf(base))
        }
        let low = max(pairTurning(fastTurns).rounded(.down), 0)
        let high = min(pairTurning(slowTurns).rounded(.up), Float(dimension - 1))
        // Equal ends would divide by zero.
        return min(max((Float(pair) - low) / (high == low ? 0.001 : high - low), 0), 1)
    }
}
