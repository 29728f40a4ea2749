// BalancednessWindow: how even the last 1000 passes were, layer by layer.

/// Rates summed over passes, for counters that only grow.
public struct BalancednessTotal: Sendable, Equatable {
    /// Passes.
    public private(set) var passes = 0
    /// Their values, added up.
    public private(set) var sum = 0.0

    mutating func add(_ rate: Float) {
        passes += 1
        sum += Double(rate)
    }
}

/// The balancedness of the last 1000 passes, in each layer; see `Balancedness`.
public struct BalancednessWindow: Sendable, Equatable {
    /// How many passes are remembered.
    public static let capacity = 1000

    /// L.
    public let layers: Int
    private var rates: [Float]  // [capacity, L]; rows run round
    private var next = 0
    /// Passes remembered so far; at most `capacity`.
    public private(set) var count = 0

    /// An empty window: 4000 · L bytes.
    public init(layers: Int) {
        precondition(layers > 0, "\(layers) layers")
        self.layers = layers
        rates = [Float](repeating: 0, count: Self.capacity * layers)
    }

    /// Remembers the rates of one more pass, `[L]`, forgetting the oldest when full.
    public mutating func append(_ pass: [Float]) {
        precondition(pass.count == layers, "\(pass.count) rates for \(layers) layers")
        for layer in 0..<layers { rates[next * layers + layer] = pass[layer] }
        advance()
    }

    /// Remembers the rates of one more pass.
    ///
    /// - Parameters:
    ///   - counts: pairs per physical expert, `[L, P]`.
    ///   - ranks: G; divides P.
    /// - Returns: the pass's value, the mean over its layers.
    mutating func append(counts: UnsafeBufferPointer<Int32>, ranks: Int) -> Float {
        var sum: Float = 0
        let row = next * layers
        rates.withUnsafeMutableBufferPointer { rates in
            Balancedness.eachRate(counts, layers: layers, ranks: ranks) { layer, rate in
                rates[row + layer] = rate
                sum += rate
            }
        }
        advance()
        return sum / Float(layers)
    }

    private mutating func advance() {
        next = (next + 1) % Self.capacity
        count = min(count + 1, Self.capacity)
    }

    /// Remembers the passes of `newer`, oldest first.
    public mutating func append(contentsOf newer: BalancednessWindow) {
        for age in (1...Self.capacity).reversed() where age <= newer.count { append(Array(newer.row(age: age))) }
    }

    /// Forgets all passes.
    public mutating func removeAll() { count = 0 }

    /// The mean over all layers, dense ones included, and the last `passes` passes, or those there are.
    ///
    /// - Parameter passes: usually 10, 100 or 1000.
    /// - Returns: nil when no pass is remembered.
    public func mean(last passes: Int) -> Float? {
        let means = layerMeans(last: passes)
        guard !means.isEmpty else { return nil }
        return Float(means.reduce(0) { $0 + Double($1) } / Double(layers))
    }

    /// The mean of each layer over the last `passes` passes, or those there are.
    ///
    /// - Parameter passes: usually 10, 100 or 1000.
    /// - Returns: `[L]`; empty when no pass is remembered.
    public func layerMeans(last passes: Int) -> [Float] {
        let used = min(passes, count)
        guard used > 0 else { return [] }
        var sums = [Double](repeating: 0, count: layers)
        for age in 1...used {
            let row = row(age: age)
            for layer in 0..<layers { sums[layer] += Double(row[row.startIndex + layer]) }
        }
        return sums.map { Float($0 / Double(used)) }
    }

    /// The rates of the pass that came `age` passes before the next one.
    private func row(age: Int) -> ArraySlice<Float> {
        let row = (next - age + Self.capacity) % Self.capacity
        return rates[row * layers..<(row + 1) * layers]
    }
}
