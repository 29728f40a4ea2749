// PlacementReference: the placement that a flag names: trivial, a file, or JSON.

import Experts

/// A placement that a flag names.
struct PlacementReference {
    private let source: PlacementSource
    private let label: String

    init(_ value: String, flag: String) throws {
        label = flag
        do { source = try PlacementSource.read(value) } catch { throw ExpertsFailure("\(flag) \(error)") }
    }

    /// The placement for the model that `series` counts.
    func placement(_ series: LoadSeries, ranks: Int?, recorded: Placement?) throws -> Placement {
        guard let ranks = ranks ?? recorded?.ranks else {
            throw ExpertsFailure("\(label): a placement does not say on how many GPUs it lies; give --gpus COUNT")
        }
        do {
            return try source.placement(layers: series.layers, logicalExperts: series.experts, ranks: ranks)
        } catch {
            throw ExpertsFailure("\(label) \(error)")
        }
    }
}
