// Distance: how far a computed tensor is from its reference.

/// Relative Frobenius distance, `‖found - expected‖ / ‖expected‖`; NaN where either side has one, infinity for unequal
/// counts.
public func relativeDistance(_ found: [Float], _ expected: [Double]) -> Double {
    guard found.count == expected.count else { return .infinity }
    var difference = 0.0
    var size = 0.0
    for (found, expected) in zip(found, expected) {
        difference += (Double(found) - expected) * (Double(found) - expected)
        size += expected * expected
    }
    return difference == 0 ? 0 : (difference / size).squareRoot()
}

/// Whether two rows of floats have the same bits; NaN equals itself, and zero differs from minus zero.
public func haveSameBits(_ first: [Float], _ second: [Float]) -> Bool {
    first.map(\.bitPattern) == second.map(\.bitPattern)
}
