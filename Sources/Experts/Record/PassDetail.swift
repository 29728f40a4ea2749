// PassDetail: which tokens one pass had and where each went, layer by layer.
//
// Owner: the engine, which keeps one and lends its rows to the pass; not thread-safe. Memory is taken once, for the
// largest pass, so that filling it allocates nothing. Rows are written in any order of layers; a layer that is not
// written (a dense one) has no experts, whatever the memory holds.
//
// Example, two layers, K = 2, a pass of a prompt's tokens 0 ..< 2 and one new token:
//     detail.begin(tokens: 3)
//     detail.append(request: "a", start: 0, ids: [11, 12])
//     detail.append(request: "b", start: 9, ids: [13])
//     detail.row(layer: 1)          // [3, 2]: the router writes 4 1, 0 2, 4 0

/// The tokens of one pass and their experts.
public final class PassDetail {
    /// Consecutive tokens of one request.
    struct Run {
        /// Bytes that keeping a request's id takes, about: its text, and its places in a list and in a dictionary.
        static func cost(of request: String) -> Int { 128 + request.utf8.count }

        var request: String
        /// The position of the first.
        var start: Int32
        var count: Int32
    }

    /// L.
    public let layers: Int
    /// K: experts per token.
    public let topK: Int
    /// Tokens that fit.
    public let capacity: Int
    /// N: tokens of this pass.
    public private(set) var tokens = 0
    private(set) var runs: [Run] = []
    private var named = 0
    private let expertIDs: UnsafeMutableBufferPointer<Int32>  // [L, N, K], packed for this pass's N
    private let tokenIDs: UnsafeMutableBufferPointer<Int32>  // [N]
    private var isWritten: [Bool]  // [L]

    /// Room for passes of up to `capacity` tokens: 4 · L · K + 4 bytes for each.
    public init(layers: Int, topK: Int, capacity: Int) {
        precondition(layers > 0 && topK > 0 && capacity > 0, "\(capacity) tokens, \(layers) layers, top \(topK)")
        self.layers = layers
        self.topK = topK
        self.capacity = capacity
        expertIDs = .allocate(capacity: layers * capacity * topK)
        expertIDs.initialize(repeating: -1)
        tokenIDs = .allocate(capacity: capacity)
        tokenIDs.initialize(repeating: 0)
        isWritten = [Bool](repeating: false, count: layers)
        runs.reserveCapacity(64)
    }

    deinit {
        expertIDs.deallocate()
        tokenIDs.deallocate()
    }

    /// Begins a pass of `tokens` tokens, padding included, of which nothing is known yet.
    public func begin(tokens: Int) {
        precondition((0...capacity).contains(tokens), "\(tokens) tokens in a pass detail for \(capacity)")
        self.tokens = tokens
        named = 0
        runs.removeAll(keepingCapacity: true)
        for layer in 0..<layers { isWritten[layer] = false }
    }

    /// Names the next tokens.
    ///
    /// - Parameters:
    ///   - request: the id that the client knows it by.
    ///   - start: the first token's position in its sequence.
    ///   - ids: the tokens' ids in the vocabulary.
    public func append(request: String, start: Int, ids: UnsafeBufferPointer<Int32>) {
        precondition(named + ids.count <= tokens, "\(named + ids.count) tokens named in a pass of \(tokens)")
        _ = UnsafeMutableBufferPointer(rebasing: tokenIDs[named..<named + ids.count]).update(fromContentsOf: ids)
        named += ids.count
        runs.append(
            Run(request: request, start: Int32(truncatingIfNeeded: start), count: Int32(truncatingIfNeeded: ids.count)))
    }

    /// The row of a layer, for the router to fill: physical experts of each token, `[N, K]`, -1 for none.
    public func row(layer: Int) -> UnsafeMutableBufferPointer<Int32> {
        isWritten[layer] = true
        let size = tokens * topK
        return UnsafeMutableBufferPointer(rebasing: expertIDs[layer * size..<(layer + 1) * size])
    }

    /// All rows, `[L, N, K]`, for a router that writes layer after layer; `noteWritten` says afterwards which it wrote.
    public var rows: UnsafeMutablePointer<Int32>? { expertIDs.baseAddress }

    /// Says that the rows of `layers` have been written.
    public func noteWritten(_ layers: [Int]) {
        for layer in layers { isWritten[layer] = true }
    }

    /// Copies the physical experts of a layer's tokens, `[N, K]`, -1 for none.
    public func write(layer: Int, ids: UnsafeBufferPointer<Int32>) {
        let row = row(layer: layer)
        precondition(ids.count == row.count, "\(ids.count) ids for \(tokens) tokens with \(topK) experts each")
        _ = row.update(fromContentsOf: ids)
    }

    /// The row of a layer; nil when it was not written in this pass.
    public func experts(layer: Int) -> UnsafeBufferPointer<Int32>? {
        guard isWritten[layer] else { return nil }
        let size = tokens * topK
        return UnsafeBufferPointer(rebasing: expertIDs[layer * size..<(layer + 1) * size])
    }

    /// Bytes that keeping the ids of all requests takes, about.
    var requestBytes: Int { runs.reduce(0) { $0 + Run.cost(of: $1.request) } }

    /// The tokens' ids; those not named have none.
    var namedIDs: UnsafeBufferPointer<Int32> { UnsafeBufferPointer(rebasing: tokenIDs[..<named]) }
}
