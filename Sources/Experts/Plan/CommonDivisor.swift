// CommonDivisor: what a load is a multiple of.
//
// Method: a float is an odd integer times a power of two, and powers of two change no decision of a planner. What is left
//         of a common divisor divides all odd integers: Euclid's algorithm, nearly always down to 1 after a few loads.

/// The largest odd number that divides every load; 1 where there is no load.
///
/// - Parameters:
///   - loads: finite, not negative; `[count]`.
///   - count: how many.
/// - Returns: a divisor by which dividing is exact.
func commonOddDivisor(_ loads: UnsafePointer<Float>, count: Int) -> Float {
    var divisor: UInt32 = 0
    for index in 0..<count where loads[index] > 0 {
        let load = loads[index]
        let whole = load.significandBitPattern | (load.isNormal ? 1 << UInt32(Float.significandBitCount) : 0)
        var other = whole >> UInt32(whole.trailingZeroBitCount)
        while other != 0 { (divisor, other) = (other, divisor % other) }
        if divisor == 1 { break }
    }
    return Float(max(1, divisor))
}
