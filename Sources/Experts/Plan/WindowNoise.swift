// WindowNoise: whether the imbalance of a placement is more than what windows differ by anyway.
//
// Goals in order: no moves on stationary noise, moves on drift.
// Method: noise is a relative deviation of every expert's tokens, the same in all layers. It is measured on rank loads:
//         the differences of successive windows, or the second differences, which steady drift hardly enters,
//         whichever are smaller; the median over ranks, which a jump hardly moves, then the median over some layers.
//         The fewer the windows, the more an assumption counts. The imbalance in the last window is compared with the
//         noise in it and in the window that the placement was once made from: a sum of squares, chi-square
//         distributed if noise is all there is. The threshold is five standard deviations out, by Wilson and
//         Hilferty's approximation (1931), with as many degrees of freedom as fit the variance: F. E. Satterthwaite, "An
//         approximate distribution of estimates of variance components" (1946).

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

extension LayerArrangement {
    /// The deviation that a relative deviation of 1 of every expert would cause in the load of a rank.
    var noiseUnit: Float {
        (squaredWeights / Float(ranks)).squareRoot()
    }

    /// Whether the imbalance is more than noise.
    ///
    /// - Parameter noise: relative deviation of an expert's tokens from window to window.
    /// - Returns: true when noise alone practically never makes so much.
    func hasDrifted(noise: Float) -> Bool {
        var imbalance: Float = 0
        for rank in 0..<ranks { imbalance += (rankLoad[rank] - 1) * (rankLoad[rank] - 1) }
        let expected = 2 * noise * noise * squaredWeights
        func isMore(freedom: Float) -> Bool {
            let spread = 2 / (9 * freedom)
            let root = 1 - spread + 5 * spread.squareRoot()
            return imbalance > expected * root * root * root
        }
        guard isMore(freedom: Float(ranks)) else { return false }
        return isMore(freedom: 1) || isMore(freedom: degreesOfFreedom)
    }

    /// How many independent ranks would make the imbalance vary as much, 1 to G: an expert with many replicas moves all
    /// its ranks together, and one that outweighs all others on its rank counts more than those.
    private var degreesOfFreedom: Float {
        var (all, variance): (Float, Float) = (0, 0)
        var squares = [Float](repeating: 0, count: experts)
        for rank in 0..<ranks {
            var own: Float = 0
            for slot in slots(of: rank) {
                let square = weight[slot] * weight[slot]
                own += square
                squares[Int(expertOf[slot])] += square
                variance -= square * square
            }
            all += own
            variance += own * own
        }
        for square in squares { variance += square * square }
        return variance > 0 ? all * all / variance : Float(ranks)
    }
}

/// Collects the noise of layers.
struct WindowNoise {
    /// Relative deviations, one per layer that has any load.
    private var deviations: [Float] = []

    /// Takes note of a layer.
    ///
    /// - Parameters:
    ///   - rankLoads: rank loads of the layer in each window, in units of the window's mean; `[W, G]`.
    ///   - ranks: G.
    ///   - unit: `noiseUnit` of the layer.
    mutating func add(_ rankLoads: [Float], ranks: Int, unit: Float) {
        guard rankLoads.count > ranks, unit > 0 else { return }
        let steps = (ranks..<rankLoads.count).map { rankLoads[$0] - rankLoads[$0 - ranks] }
        var deviation = Self.typicalSize(steps) / Float(2).squareRoot()
        if steps.count > ranks {
            let bends = (ranks..<steps.count).map { steps[$0] - steps[$0 - ranks] }
            deviation = min(deviation, Self.typicalSize(bends) / Float(6).squareRoot())
        }
        deviations.append(deviation / unit)
    }

    /// The relative noise that `windows` windows show, in so far as so few can be trusted.
    ///
    /// - Parameters:
    ///   - windows: W; four windows and the assumption count the same.
    ///   - assumed: noise where nothing is measured.
    /// - Returns: a geometric mean of the median over layers and the assumed noise.
    func estimate(windows: Int, assumed: Float) -> Float {
        guard !deviations.isEmpty, assumed > 0 else { return assumed }
        let median = deviations.sorted()[deviations.count / 2]
        let measured = max(median, assumed / 10)  // no load is without noise
        return assumed * pow(measured / assumed, Float(windows) / Float(windows + 4))
    }

    /// The standard deviation of normal values around zero, from the median of their sizes.
    private static func typicalSize(_ values: [Float]) -> Float {
        1.4826 * values.map { abs($0) }.sorted()[values.count / 2]
    }
}
