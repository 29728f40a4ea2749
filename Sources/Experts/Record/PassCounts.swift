// PassCounts: how many routed pairs each physical expert received in one forward pass.
//
// Owner: the engine, which keeps one and lends its rows to the pass; block alignment writes a layer's counts straight
// into its row. A value: comparing, copying and sending it is safe, and steady reuse allocates nothing.

/// What kind of work a forward pass did; raw values as in dump files.
public enum ForwardMode: Int, Sendable, CaseIterable {
    /// Prompt tokens.
    case extend = 1
    /// One new token per sequence.
    case decode = 2
    /// Both in one batch.
    case mixed = 3
    /// No tokens: the rank only took part.
    case idle = 4
    /// Checks drafted tokens. This and those below only occur in files of other engines.
    case targetVerify = 5
    /// Drafts after a check.
    case draftExtend = 6
    /// Takes over keys and values computed elsewhere.
    case prebuilt = 7
    /// A prompt, some layers at a time.
    case splitPrefill = 8
    /// Refines a block of a diffusion model.
    case diffusionExtend = 9
}

/// The counts of one forward pass, and under which placement they were made.
///
/// A pass has one placement. A rebalance that moves some layers first makes a new placement for each step.
public struct PassCounts: Sendable, Equatable {
    /// Where the experts were during this pass; its epoch dates the counts.
    public private(set) var placement: Placement
    /// The pass's number; the first of a run is 1.
    public private(set) var id = 0
    /// What kind of pass it was.
    public private(set) var mode = ForwardMode.idle
    /// N: real tokens in the pass, padding excluded.
    public private(set) var tokens = 0
    /// Routed pairs per slot; `[L, P]`, row-major. Dense layers stay zero.
    public private(set) var counts: [Int32]

    /// Storage for passes under `placement`, all zero.
    public init(placement: Placement) {
        self.placement = placement
        counts = [Int32](repeating: 0, count: placement.layers * placement.physicalExperts)
    }

    /// Zeroes the counts for the next pass; allocates nothing while the placement keeps its size.
    public mutating func begin(pass id: Int, mode: ForwardMode, tokens: Int, placement: Placement) {
        self.id = id
        self.mode = mode
        self.tokens = tokens
        self.placement = placement
        let size = placement.layers * placement.physicalExperts
        if counts.count == size {
            counts.withUnsafeMutableBufferPointer { $0.update(repeating: 0) }
        } else {
            counts = [Int32](repeating: 0, count: size)
        }
    }

    /// Lends the counts for writing: `[L, P]`, row of layer l at `l * placement.physicalExperts`.
    public mutating func withMutableCounts<Result, Failure: Error>(
        _ body: (UnsafeMutableBufferPointer<Int32>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try counts.withUnsafeMutableBufferPointer { counts throws(Failure) in try body(counts) }
    }

    /// The count of one slot.
    public func count(layer: Int, slot: Int) -> Int {
        Int(counts[layer * placement.physicalExperts + slot])
    }

    /// The mean over all layers of how evenly the ranks were used; see `Balancedness`.
    public var balancedness: Float {
        counts.withUnsafeBufferPointer {
            Balancedness.mean($0, layers: placement.layers, ranks: placement.ranks)
        }
    }
}
