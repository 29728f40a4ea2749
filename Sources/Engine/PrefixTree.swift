// PrefixTree: which token prefixes already have their keys and values in a page.
//
// Owner: the scheduler. A node is a page: the 16 tokens that it holds, and the page before it. So an edge is 16 tokens,
// a node never splits, and everything about a node is found at its page's index: no operation allocates.
//
// Method: radix tree with reference counts and eviction of the least recently used leaf, after Zheng et al., "SGLang"
//         (arXiv:2312.07104), section 3.
// Invariants: who holds a page holds all pages before it, and lets go of them from the last to the first. So among the
//             pages that nobody holds, kept in the order in which they were let go, every page comes after its
//             descendants: the first is always a leaf, and eviction need not search.

/// The token prefixes whose keys and values are in pages.
struct PrefixTree {
    /// "No page": the parent of a prompt's first page, and the end of a list.
    static let none: Int32 = -1

    private struct Node {
        var isInTree = false
        var parent = PrefixTree.none
        /// Sequences that use the page.
        var holders: Int32 = 0
        /// Neighbours among the pages that nobody holds.
        var older = PrefixTree.none
        var newer = PrefixTree.none
        /// The next page whose tokens fall into the same bucket.
        var next = PrefixTree.none
    }

    /// Tokens in a page.
    private let pageSize: Int
    private var nodes: [Node]  // [pages]
    private var tokens: [Int32]  // [pages, pageSize]
    /// First page of each hash value of (parent, tokens).
    private var buckets: [Int32]
    private var oldest = PrefixTree.none
    private var newest = PrefixTree.none
    /// Pages in the tree that nobody holds: those that can be evicted.
    private(set) var idleCount = 0

    /// An empty tree for pages `0..<pageCount`.
    init(pageCount: Int, pageSize: Int) {
        self.pageSize = pageSize
        nodes = Array(repeating: Node(), count: pageCount)
        tokens = Array(repeating: 0, count: pageCount * pageSize)
        var size = 1
        while size < pageCount { size *= 2 }
        buckets = Array(repeating: Self.none, count: size)
    }

    /// The page with the tokens of page `index` of `sequence` that follows the page `parent`; nil when there is none.
    func child(of parent: Int32, _ sequence: [Int32], page index: Int) -> Int32? {
        var page = buckets[bucket(parent, sequence, index * pageSize)]
        while page != Self.none {
            if nodes[Int(page)].parent == parent, holds(Int(page), sequence, at: index * pageSize) { return page }
            page = nodes[Int(page)].next
        }
        return nil
    }

    /// Whether nobody uses the page.
    func isIdle(_ page: Int32) -> Bool { nodes[Int(page)].holders == 0 }

    /// Adds `page`, which holds the tokens of page `index` of `sequence`, after the page `parent`; the caller holds it.
    mutating func insert(_ page: Int32, after parent: Int32, _ sequence: [Int32], page index: Int) {
        let bucket = bucket(parent, sequence, index * pageSize)
        for offset in 0..<pageSize { tokens[Int(page) * pageSize + offset] = sequence[index * pageSize + offset] }
        nodes[Int(page)] = Node(isInTree: true, parent: parent, holders: 1, next: buckets[bucket])
        buckets[bucket] = page
    }

    /// Keeps the page from being evicted until it is let go as often as it was held.
    mutating func hold(_ page: Int32) {
        if nodes[Int(page)].holders == 0 { unlink(page) }
        nodes[Int(page)].holders += 1
    }

    /// Lets the page go; a sequence lets its last page go first.
    mutating func release(_ page: Int32) {
        nodes[Int(page)].holders -= 1
        guard nodes[Int(page)].holders == 0 else { return }
        nodes[Int(page)].older = newest
        nodes[Int(page)].newer = Self.none
        if newest == Self.none { oldest = page } else { nodes[Int(newest)].newer = page }
        newest = page
        idleCount += 1
    }

    /// Takes the leaf that was not used for longest out of the tree; nil when every page is held.
    mutating func evict() -> Int32? {
        guard oldest != Self.none else { return nil }
        let page = oldest
        unlink(page)
        let bucket = bucket(nodes[Int(page)].parent, tokens, Int(page) * pageSize)
        if buckets[bucket] == page {
            buckets[bucket] = nodes[Int(page)].next
        } else {
            var before = buckets[bucket]
            while nodes[Int(before)].next != page { before = nodes[Int(before)].next }
            nodes[Int(before)].next = nodes[Int(page)].next
        }
        nodes[Int(page)] = Node()
        return page
    }

    private mutating func unlink(_ page: Int32) {
        let (older, newer) = (nodes[Int(page)].older, nodes[Int(page)].newer)
        if older == Self.none { oldest = newer } else { nodes[Int(older)].newer = newer }
        if newer == Self.none { newest = older } else { nodes[Int(newer)].older = older }
        idleCount -= 1
    }

    /// The hash is seeded per process, so that no client can fill one bucket.
    private func bucket(_ parent: Int32, _ tokens: [Int32], _ start: Int) -> Int {
        var hasher = Hasher()
        hasher.combine(parent)
        tokens.withUnsafeBytes { bytes in
            let width = MemoryLayout<Int32>.stride
            hasher.combine(bytes: UnsafeRawBufferPointer(rebasing: bytes[start * width..<(start + pageSize) * width]))
        }
        return hasher.finalize() & (buckets.count - 1)
    }

    private func holds(_ page: Int, _ sequence: [Int32], at start: Int) -> Bool {
        for offset in 0..<pageSize where tokens[page * pageSize + offset] != sequence[start + offset] { return false }
        return true
    }
}

extension PrefixTree {
    /// Checks the invariants against the pages that each sequence holds, first to last.
    ///
    /// - Returns: the pages in the tree.
    func checkIntegrity(held: [(pages: ArraySlice<Int32>, tokens: [Int32])]) -> [Int32] {
        var holders = [Int32](repeating: 0, count: nodes.count)
        for sequence in held {
            var parent = Self.none
            for (index, page) in sequence.pages.enumerated() {
                precondition(
                    child(of: parent, sequence.tokens, page: index) == page, "page \(page) is held, but not found")
                holders[Int(page)] += 1
                parent = page
            }
        }
        var rank = [Int](repeating: .max, count: nodes.count)
        var (page, idle) = (oldest, 0)
        while page != Self.none {
            rank[Int(page)] = idle
            idle += 1
            page = nodes[Int(page)].newer
        }
        precondition(idle == idleCount, "\(idle) pages are idle, not \(idleCount)")
        for (page, node) in nodes.enumerated() {
            precondition(
                node.holders == holders[page], "page \(page) has \(holders[page]) holders, not \(node.holders)")
            precondition((rank[page] < .max) == (node.isInTree && node.holders == 0), "page \(page) is lost or idle")
            guard node.isInTree, node.parent != Self.none else { continue }
            precondition(nodes[Int(node.parent)].isInTree, "page \(page) lost its parent")
            precondition(
                rank[page] == .max ? rank[Int(node.parent)] == .max : rank[Int(node.parent)] > rank[page],
                "page \(page) would outlive its parent")
        }
        return nodes.indices.filter { nodes[$0].isInTree }.map(Int32.init)
    }
}
