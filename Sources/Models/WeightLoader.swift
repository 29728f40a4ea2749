// WeightLoader: tensors into a device's layouts, one weight at a time, telling how far it has come.

public import Compute

/// Where weights come from.
public protocol WeightSource {
    /// The tensor `name`; a matrix of 8-bit floats comes with its scales, one for each of `scaleBlocks`.
    ///
    /// - Throws: `ModelFileError` when it is missing, has another shape, or is no floating-point weight.
    func tensor(_ name: String, shape: [Int], scaleBlocks: ScaleBlocks) throws(ModelFileError) -> Tensor
}

/// Rows of a matrix, or elements of a vector, under the name that a checkpoint gives it.
struct NamedRows {
    /// The tensor.
    var name: String
    /// How many rows it has.
    var total: Int
    /// Those that are wanted, in this order; nil for all.
    var rows: [Int]?
}

/// Moves weights from their source to a device.
public final class WeightLoader {
    private let source: any WeightSource
    private let layout: any WeightLayout
    private let readAhead: ReadAhead?
    private let progress: (Int) -> Void
    /// How exactly matrices are kept: routers, norms, embeddings and `heads` always as they are stored.
    private let precision: WeightPrecision
    /// How 8-bit matrices are scaled.
    var scaleBlocks = ScaleBlocks()
    /// Parameters loaded so far, a tied embedding counted once.
    public private(set) var parameters = 0
    /// Those among them of routed experts.
    public private(set) var expertParameters = 0
    /// Bytes of all matrices as they are laid out: what a pass reads if it hits every expert.
    public private(set) var matrixBytes = 0
    /// Those among them of routed experts.
    public private(set) var expertBytes = 0
    /// Bytes of `source` that are in place.
    public private(set) var loadedBytes = 0
    /// Those among them that stay where they are.
    public private(set) var mappedBytes = 0
    /// What has been laid out, in this order.
    private(set) var laidOut: [Tensor] = []

    /// A loader that calls `progress` with the bytes in place after every weight, and has `readAhead` stay ahead of it.
    public init(
        _ source: any WeightSource, backend: any WeightLayout, precision: WeightPrecision = .stored,
        readAhead: ReadAhead? = nil, progress: @escaping (Int) -> Void = { _ in }
    ) {
        self.source = source
        self.precision = precision
        layout = backend
        self.readAhead = readAhead
        self.progress = progress
    }

    /// A loader of what `survey` found in `source`: through `cache` if there is one, and reading ahead unless that holds
    /// the weights already, which are then read when they are used.
    public convenience init(
        _ source: any WeightSource, survey: WeightSurvey, backend: CPUBackend, cache: PackedCache?,
        precision: WeightPrecision, progress: @escaping (Int) -> Void
    ) {
        self.init(
            source, backend: cache ?? backend, precision: precision,
            readAhead: cache?.outcome == .mapped ? nil : ReadAhead(survey.order), progress: progress)
    }

    private func find(_ name: String, _ shape: [Int]) throws(ModelFileError) -> Tensor {
        try source.tensor(name, shape: shape, scaleBlocks: scaleBlocks)
    }

    /// A tensor that stays where it is, such as the embedding table.
    func tensor(_ name: String, shape: [Int]) throws(ModelFileError) -> Tensor {
        let tensor = try find(name, shape)
        guard tensor.dtype != .float8 else {
            throw ModelFileError(
                file: tensor.file, item: name, found: "dtype \(tensor.dtype.rawValue)", expected: "BF16, F16 or F32")
        }
        mappedBytes += tensor.byteCount
        count([TensorRows(tensor)], isLaidOut: false)
        return tensor
    }

    /// A vector, or several end to end.
    func vector(_ parts: [NamedRows]) throws(ModelFileError) -> Buffer {
        var rows: [TensorRows] = []
        for part in parts {
            rows.append(TensorRows(try find(part.name, [part.total]), rows: part.rows))
        }
        let vector = layout.makeVector(rows)
        count(rows)
        return vector
    }

    /// The one row of the matrix `name`, as a vector.
    func row(_ name: String, inputs: Int) throws(ModelFileError) -> Buffer {
        let rows = [TensorRows(try find(name, [1, inputs]), isTransposed: true)]
        let vector = layout.makeVector(rows)
        count(rows)
        return vector
    }

    /// What a matrix is for.
    enum Role {
        /// As exact as was asked for.
        case ordinary
        /// A gate that decides: always as it is stored.
        case gate
    }

    /// A matrix whose row blocks are `parts`; not `isNew` if they are loaded already in another layout.
    func matrix(
        _ parts: [NamedRows], inputs: Int, role: Role = .ordinary, isNew: Bool = true
    ) throws(ModelFileError) -> Matrix {
        var rows: [TensorRows] = []
        for part in parts {
            rows.append(TensorRows(try find(part.name, [part.total, inputs]), rows: part.rows))
        }
        let precision: WeightPrecision =
            switch role {
            case .ordinary: self.precision
            case .gate: .stored
            }
        let matrix = layout.makeMatrix([rows], gated: false, precision: precision) { if isNew { count($0) } }
        matrixBytes += matrix.byteCount
        return matrix
    }

    /// A matrix for each of `heads`, some rows of the tensor `name`; transposed, those rows are its inputs. Never quantized:
    /// latent attention reads them in two forms.
    func heads(
        _ name: String, shape: [Int], heads: [Range<Int>], isTransposed: Bool
    ) throws(ModelFileError) -> Matrix {
        let tensor = try find(name, shape)
        let parts = heads.map { TensorRows(tensor, rows: Array($0), isTransposed: isTransposed) }
        let matrix = layout.makeMatrix(parts.map { [$0] }, gated: false, precision: .stored) { count($0) }
        matrixBytes += matrix.byteCount
        return matrix
    }

    /// The down projections `names` of all experts, each `[outputs, inputs]`.
    func experts(_ names: [String], outputs: Int, inputs: Int) throws(ModelFileError) -> Matrix {
        var stacks: [[TensorRows]] = []
        for name in names { stacks.append([TensorRows(try find(name, [outputs, inputs]))]) }
        let matrix = layout.makeMatrix(stacks, gated: false, precision: precision) { count($0) }
        matrixBytes += matrix.byteCount
        expertBytes += matrix.byteCount
        expertParameters += names.count * outputs * inputs
        return matrix
    }

    /// Gate and up projections of all experts, one pair for each, all `[outputs, inputs]`.
    func gatedExperts(
        _ pairs: [(gate: String, up: String)], outputs: Int, inputs: Int
    ) throws(ModelFileError) -> Matrix {
        let matrix = try gated(pairs, outputs: outputs, inputs: inputs)
        expertBytes += matrix.byteCount
        expertParameters += 2 * pairs.count * outputs * inputs
        return matrix
    }

    /// Gate and up projection of one MLP, both `[outputs, inputs]`.
    func gatedMatrix(gate: String, up: String, outputs: Int, inputs: Int) throws(ModelFileError) -> Matrix {
        try gated([(gate, up)], outputs: outputs, inputs: inputs)
    }

    private func gated(
        _ pairs: [(gate: String, up: String)], outputs: Int, inputs: Int
    ) throws(ModelFileError) -> Matrix {
        var stacks: [[TensorRows]] = []
        for pair in pairs {
            stacks.append([
                TensorRows(try find(pair.gate, [outputs, inputs])),
                TensorRows(try find(pair.up, [outputs, inputs])),
            ])
        }
        let matrix = layout.makeMatrix(stacks, gated: true, precision: precision) { count($0) }
        matrixBytes += matrix.byteCount
        return matrix
    }

    private func count(_ parts: [TensorRows], isLaidOut: Bool = true) {
        for part in parts {
            parameters += part.count
            // A hostile configuration may pass 64 bits; nothing of it will be loaded.
            let (sum, overflow) = loadedBytes.addingReportingOverflow(part.storedByteCount)
            loadedBytes = overflow ? .max : sum
            guard isLaidOut else { continue }
            if laidOut.last?.name != part.tensor.name { laidOut.append(part.tensor) }
            // Part of a tensor may be laid out later.
            if part.rows == nil { part.tensor.forget() }
        }
        readAhead?.advance(to: loadedBytes - mappedBytes)
        progress(loadedBytes)
    }
}
