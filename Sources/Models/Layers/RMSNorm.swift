// RMSNorm: x / rms(x) * weight (Zhang and Sennrich, arXiv:1910.07467).

internal import Compute

/// Root-mean-square normalisation.
struct RMSNorm: Sendable {
    private let weight: Buffer
    private let epsilon: Float

    /// Loads `name.weight`.
    init(_ name: String, width: Int, epsilon: Float, from weights: WeightLoader) throws(ModelFileError) {
        weight = try weights.vector([NamedRows(name: "\(name).weight", total: width)])
        self.epsilon = epsilon
    }

    /// `out[r] = norm(x[rows[r]])`; without `rows`, row r itself.
    func callAsFunction(
        _ x: Buffer, rows: UnsafePointer<Int32>? = nil, count: Int, out: Buffer, on backend: any Backend
    ) {
        backend.norm(x, rows: rows, count: count, weight: weight, epsilon: epsilon, out: out)
    }

    /// Normalises `segments` segments of each of the first `count` rows in place, from column `first` on.
    func callAsFunction(segments: Int, from first: Int, of x: Buffer, count: Int, on backend: any Backend) {
        backend.normSegments(x, count: count, first: first, segments: segments, weight: weight, epsilon: epsilon)
    }
}
