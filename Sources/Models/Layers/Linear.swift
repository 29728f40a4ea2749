// Linear: y = x Wᵀ + b.

internal import Compute

/// A matrix product with an optional bias.
struct Linear: Sendable {
    private let weight: Matrix
    private let bias: Buffer?

    /// Loads `name.weight` of each part, stacked, and `name.bias` if `bias`.
    init(
        _ parts: [(name: String, outputs: Int)], inputs: Int, bias: Bool = false, role: WeightLoader.Role = .ordinary,
        from weights: WeightLoader
    ) throws(ModelFileError) {
        func rows(_ kind: String) -> [NamedRows] {
            parts.map { NamedRows(name: "\($0.name).\(kind)", total: $0.outputs) }
        }
        weight = try weights.matrix(rows("weight"), inputs: inputs, role: role)
        self.bias = bias ? try weights.vector(rows("bias")) : nil
    }

    /// Loads the rows `rows` of the `total` of `name`, in this order.
    init(
        _ name: String, rows: [Int], of total: Int, inputs: Int, bias: Bool = false, from weights: WeightLoader
    ) throws(ModelFileError) {
        weight = try weights.matrix([NamedRows(name: "\(name).weight", total: total, rows: rows)], inputs: inputs)
        self.bias = bias ? try weights.vector([NamedRows(name: "\(name).bias", total: total, rows: rows)]) : nil
    }

    /// A projection that shares the tensor `name` with something already loaded, such as a tied embedding.
    init(tied name: String, outputs: Int, inputs: Int, from weights: WeightLoader) throws(ModelFileError) {
        weight = try weights.matrix([NamedRows(name: name, total: outputs)], inputs: inputs, isNew: false)
        bias = nil
    }

    /// `out = x Wᵀ + b`, or that added to `out`.
    func callAsFunction(_ x: Buffer, count: Int, out: Buffer, adding: Bool = false, on backend: any Backend) {
        backend.linear(x, count: count, weight: weight, bias: bias, out: out, accumulate: adding)
    }
}
