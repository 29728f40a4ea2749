// ForwardPass: everything that a layer needs beside its weights, as an explicit argument.

public import Compute
public import Experts

/// Where the routing of a pass is kept, layer by layer. With strides of 0 nobody keeps it: every layer overwrites the last,
/// so that recording costs the layers no branch and no copy.
public struct RoutingRecord {
    private let first: RoutingRow
    private let countStride: Int
    private let idStride: Int
    private let dispatch: Dispatch?

    /// A record.
    ///
    /// - Parameters:
    ///   - counts: pairs per physical expert, `[L, P]`, or `[P]` with a stride of 0.
    ///   - countStride: from layer to layer, P or 0.
    ///   - ids: expert of each pair, `[L, N, K]`, or `[N, K]` with a stride of 0.
    ///   - idStride: from layer to layer, N · K or 0.
    ///   - dispatch: from logical to physical experts; nil when every expert is its own slot.
    public init(
        counts: UnsafeMutablePointer<Int32>, countStride: Int, ids: UnsafeMutablePointer<Int32>, idStride: Int,
        dispatch: Dispatch? = nil
    ) {
        self.dispatch = dispatch
        first = RoutingRow(counts: counts, ids: ids)
        self.countStride = countStride
        self.idStride = idStride
    }

    /// Where one layer's routing goes.
    func row(layer: Int) -> RoutingRow {
        RoutingRow(
            counts: first.counts + layer * countStride, ids: first.ids + layer * idStride, dispatch: dispatch,
            layer: layer)
    }
}

/// One pass of tokens through a model.
public struct ForwardPass {
    /// Where to compute.
    public let backend: any Backend
    /// The tokens.
    public let tokens: TokenLayout
    /// Keys and values of earlier positions; this pass adds its own.
    public let cache: KVCache
    /// Activations.
    public let workspace: Workspace
    /// Where the sparse layers' routing is kept.
    public let record: RoutingRecord

    /// One pass.
    ///
    /// - Parameters:
    ///   - backend: where to compute.
    ///   - tokens: the tokens.
    ///   - cache: keys and values.
    ///   - workspace: activations.
    ///   - counts: receives the pairs per physical expert, `[L, P]`; nil when nobody counts.
    ///   - ids: receives the physical experts of each token, `[L, N, K]`; nil when nobody wants them.
    ///   - dispatch: from logical to physical experts; nil when every expert is its own slot.
    public init(
        backend: any Backend, tokens: TokenLayout, cache: KVCache, workspace: Workspace,
        counts: UnsafeMutablePointer<Int32>? = nil, ids: UnsafeMutablePointer<Int32>? = nil, dispatch: Dispatch? = nil
    ) {
        self.backend = backend
        self.tokens = tokens
        self.cache = cache
        self.workspace = workspace
        record = RoutingRecord(
            counts: counts ?? workspace.unkeptCounts, countStride: counts == nil ? 0 : workspace.slots,
            ids: ids ?? workspace.unkeptIDs, idStride: ids == nil ? 0 : tokens.count * workspace.routing.topK,
            dispatch: dispatch)
    }
}
