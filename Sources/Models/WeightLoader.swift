// WeightLoader: checkpoint tensors into a backend's layouts, one weight at a time, telling how far it has come.

public import Compute

/// Moves weights from a checkpoint to a device.
public final class WeightLoader {
    /// Where the weights will compute.
    public let backend: any Backend
    private let checkpoint: Checkpoint
    private let progress: (Int) -> Void
    /// Parameters loaded so far, a tied embedding counted once.
    public private(set) var parameters = 0
    private var loadedBytes = 0

    /// A loader that calls `progress` with the bytes in place after every weight.
    public init(_ checkpoint: Checkpoint, backend: any Backend, progress: @escaping (Int) -> Void = { _ in }) {
        self.checkpoint = checkpoint
        self.backend = backend
        self.progress = progress
    }

    /// A tensor that stays where it is, such as the embedding table.
    public func tensor(_ name: String, shape: [Int]) throws(ModelFileError) -> Tensor {
        let tensor = try checkpoint.tensor(name, shape: shape)
        count([tensor])
        return tensor
    }

    /// A vector, or several end to end.
    public func vector(_ parts: [(name: String, width: Int)]) throws(ModelFileError) -> Buffer {
        var tensors: [Tensor] = []
        for part in parts { tensors.append(try checkpoint.tensor(part.name, shape: [part.width])) }
        count(tensors)
        return backend.makeVector(tensors)
    }

    /// A matrix whose row blocks are the tensors `parts`; not `isNew` if they are loaded already in another layout.
    public func matrix(
        _ parts: [(name: String, outputs: Int)], inputs: Int, isNew: Bool = true
    ) throws(ModelFileError) -> Matrix {
        var tensors: [Tensor] = []
        for part in parts { tensors.append(try checkpoint.tensor(part.name, shape: [part.outputs, inputs])) }
        let matrix = backend.makeMatrix([tensors], gated: false)
        if isNew { count(tensors) }
        return matrix
    }

    /// The matrices `names` of all experts, each `[outputs, inputs]`.
    public func experts(_ names: [String], outputs: Int, inputs: Int) throws(ModelFileError) -> Matrix {
        var stacks: [[Tensor]] = []
        for name in names { stacks.append([try checkpoint.tensor(name, shape: [outputs, inputs])]) }
        let matrix = backend.makeMatrix(stacks, gated: false)
        for stack in stacks { count(stack) }
        return matrix
    }

    /// Gate and up projections, one pair for each expert, each `[outputs, inputs]`.
    public func gatedExperts(
        _ pairs: [(gate: String, up: String)], outputs: Int, inputs: Int
    ) throws(ModelFileError) -> Matrix {
        var stacks: [[Tensor]] = []
        for pair in pairs {
            stacks.append([
                try checkpoint.tensor(pair.gate, shape: [outputs, inputs]),
                try checkpoint.tensor(pair.up, shape: [outputs, inputs]),
            ])
        }
        let matrix = backend.makeMatrix(stacks, gated: true)
        for stack in stacks { count(stack) }
        return matrix
    }

    private func count(_ tensors: [Tensor]) {
        for tensor in tensors {
            parameters += tensor.count
            loadedBytes += tensor.byteCount
        }
        progress(loadedBytes)
    }
}
