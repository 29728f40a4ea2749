// WeightSurvey: what a model's weights are and take, found by loading it without reading or laying out any weight.

public import Compute

/// What a model's weights are and take.
public struct WeightSurvey: Sendable {
    /// Parameters, a tied embedding counted once.
    public let parameters: Int
    /// Parameters that a token uses: all but those of the experts that it does not choose.
    public let activeParameters: Int
    /// Bytes that are read.
    public let storedBytes: Int
    /// Bytes of memory that weights take when they are loaded, those included that stay where they are.
    public let loadedBytes: Double
    /// The matrices in the order in which they are laid out.
    public let plan: PackedPlan
    /// The tensors that are laid out, in this order.
    public let order: [Tensor]
    /// What is missing, misshapen or of another type; further problems are left out beyond the number asked for.
    public let problems: [ModelFileError]

    /// Surveys the model that `configuration` names.
    ///
    /// - Parameters:
    ///   - configuration: the model's numbers.
    ///   - source: where its weights are; nil supposes that all are there, in bfloat16 or as `configuration` says.
    ///   - precision: how exactly matrices are kept.
    ///   - instructionSet: of the CPU backend that will lay them out; nil for the best.
    ///   - mostProblems: ends the survey when so many have been found.
    public init(
        _ configuration: ModelConfiguration, of source: (any WeightSource)?, precision: WeightPrecision = .stored,
        instructionSet: String? = nil, mostProblems: Int = 1
    ) {
        let layout = CPULayoutSize(instructionSet: instructionSet)
        let inspector = Inspector(
            source, dtype: configuration.dtype == .float32 ? .float32 : .bfloat16, most: mostProblems)
        let loader = WeightLoader(inspector, backend: layout, precision: precision)
        do {
            // No angles: the shapes of weights do not depend on positions.
            _ = try ModelRegistry.load(configuration, weights: loader, positions: 0, file: "config.json")
        } catch {
            // The inspector has noted it.
        }
        parameters = loader.parameters
        let idle = configuration.experts > 0 ? configuration.experts - configuration.topK : 0
        activeParameters = parameters - loader.expertParameters / max(1, configuration.experts) * idle
        storedBytes = loader.loadedBytes
        loadedBytes = layout.bytes + Double(loader.mappedBytes)
        plan = layout.plan
        order = loader.laidOut
        problems = inspector.problems
    }
}

/// Hands out tensors of the right shape whatever is there, and notes what is wrong.
private final class Inspector: WeightSource {
    private let source: (any WeightSource)?
    private let dtype: DType
    private let most: Int
    private(set) var problems: [ModelFileError] = []
    private let nothing = MappedBytes(permanent: UnsafeRawBufferPointer(start: nil, count: 0), name: "")

    init(_ source: (any WeightSource)?, dtype: DType, most: Int) {
        self.source = source
        self.dtype = dtype
        self.most = most
    }

    func tensor(_ name: String, shape: [Int], scaleBlocks: ScaleBlocks) throws(ModelFileError) -> Tensor {
        let hollow = Tensor(name: name, dtype: dtype, shape: shape, owner: nothing)
        guard let source else { return hollow }
        do {
            return try source.tensor(name, shape: shape, scaleBlocks: scaleBlocks)
        } catch {
            problems.append(error)
            guard problems.count < most else { throw error }
            return hollow
        }
    }
}
