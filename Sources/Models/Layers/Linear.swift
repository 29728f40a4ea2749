// Linear: y = x Wᵀ + b.

internal import Compute

/// A matrix product with an optional bias.
struct Linear: Sendable {
    private let weight: Matrix
    private let bias: Buffer?

    /// Loads `name.weight` of each part, stacked, and `name.bias` if `bias`.
    init(_ parts: [(name: String, outputs: Int)], inputs: Int, bias: Bool = false, from weights: WeightLoader)
        throws(ModelFileError)
    {
        weight = try weights.matrix(parts.map { ("\($0.name).weight", $0.outputs) }, inputs: inputs)
        self.bias = bias ? try weights.vector(parts.map { ("\($0.name).bias", $0.outputs) }) : nil
    }

    /// A projection that shares the tensor `name` with something already loaded, such as a tied embedding.
    init(tied name: String, outputs: Int, inputs: Int, from weights: WeightLoader) throws(ModelFileError) {
        weight = try weights.matrix([(name, outputs)], inputs: inputs, isNew: false)
        bias = nil
    }

    /// `out = x Wᵀ + b`, or that added to `out`.
    func callAsFunction(_ x: Buffer, count: Int, out: Buffer, adding: Bool = false, on backend: any Backend) {
        backend.linear(x, count: count, weight: weight, bias: bias, out: out, accumulate: adding)
    }
}
