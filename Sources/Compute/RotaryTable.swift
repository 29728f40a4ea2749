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

    /// Pair i of position p turns by `p * base^(-2 i / dimension)`.
    public init(positions: Int, dimension: Int, base: Float) {
        let half = dimension / 2
        cosines = Buffer(rows: positions, width: half)
        sines = Buffer(rows: positions, width: half)
        for pair in 0..<half {
            let frequency = 1 / powf(base, Float(2 * pair) / Float(dimension))
            for position in 0..<positions {
                let angle = Float(position) * frequency
                cosines.floats[position * half + pair] = cosf(angle)
                sines.floats[position * half + pair] = sinf(angle)
            }
        }
    }
}
