// PageLedger: which page holds which tokens of which sequence.
//
// Owner: the scheduler. Invariant: every page is in exactly one of {free list, prefix tree, the pages of one sequence
// beyond those it shares}.
//
//     pages of a sequence:  [0, shared)      in the tree, full, perhaps used by others too
//                           [shared, count)  its own: the page that is being filled, and leased room
//
// Within a pass every layer writes all keys and values before it reads any. So a page may be shared from the moment its
// tokens are chosen: who comes after, even in the same pass, need not compute them.

/// Leases pages to sequences, and shares those that are full.
struct PageLedger {
    /// Positions in a page.
    let pageSize: Int
    /// Whether full pages are kept and shared.
    let reusesPrefixes: Bool
    /// Whether pages with generated tokens are, too.
    let sharesOutput: Bool
    private var pool: PagePool
    private var tree: PrefixTree

    /// A ledger of free pages.
    init(pageCount: Int, pageSize: Int, reusesPrefixes: Bool, sharesOutput: Bool) {
        self.pageSize = pageSize
        self.reusesPrefixes = reusesPrefixes
        self.sharesOutput = sharesOutput
        pool = PagePool(pageCount: pageCount)
        tree = PrefixTree(pageCount: pageCount, pageSize: pageSize)
    }

    /// Pages that can be leased: free ones, and those that only the tree keeps.
    var available: Int { pool.free.count + tree.idleCount }

    /// Pages that sequences use.
    var used: Int { pool.pageCount - available }

    /// Pages that hold `positions` positions.
    func pages(for positions: Int) -> Int { (positions + pageSize - 1) / pageSize }

    /// Leases pages until `sequence` has room for `end` positions, and returns for how many it has.
    mutating func lease(_ sequence: Sequence, upTo end: Int) -> Int {
        while sequence.pages.count * pageSize < end, let page = pool.lease() ?? tree.evict() {
            sequence.pages.append(page)
        }
        return min(end, sequence.pages.count * pageSize)
    }

    /// How many leading pages of a sequence without any are in the tree, and how many of those others use already.
    func prefix(of sequence: Sequence) -> (pages: Int, used: Int) {
        var (pages, used, parent) = (0, 0, PrefixTree.none)
        while let page = reusable(sequence, after: parent, index: pages) {
            pages += 1
            if !tree.isIdle(page) { used += 1 }
            parent = page
        }
        return (pages, used)
    }

    /// Takes what the tree holds of a sequence's next tokens, in place of computing it.
    mutating func reuse(_ sequence: Sequence) {
        share(sequence, upTo: sequence.computed)
        let before = max(sequence.computed, sequence.reached)
        while let page = reusable(sequence, after: lastShared(sequence), index: sequence.shared) {
            tree.hold(page)
            if sequence.shared < sequence.pages.count {
                replacePage(of: sequence, with: page)
            } else {
                sequence.pages.append(page)
            }
            sequence.shared += 1
            sequence.computed = sequence.shared * pageSize
        }
        sequence.cachedTokens += max(0, min(sequence.computed, sequence.promptCount) - before)
        sequence.reached = max(sequence.reached, sequence.computed)
    }

    /// Puts the full pages of a sequence's first `end` positions into the tree.
    ///
    /// Where the tree has an equal page, it replaces the sequence's own: the bits are the same. A page that is still to
    /// be computed waits for that.
    mutating func share(_ sequence: Sequence, upTo end: Int) {
        let end = min(end, shareable(sequence))
        while reusesPrefixes, (sequence.shared + 1) * pageSize <= end {
            let parent = lastShared(sequence)
            if let twin = tree.child(of: parent, sequence.tokens, page: sequence.shared) {
                guard (sequence.shared + 1) * pageSize <= sequence.computed else { return }
                tree.hold(twin)
                replacePage(of: sequence, with: twin)
            } else {
                tree.insert(sequence.pages[sequence.shared], after: parent, sequence.tokens, page: sequence.shared)
            }
            sequence.shared += 1
        }
    }

    /// Takes all pages from a sequence; the full ones that may be shared stay in the tree until they are needed.
    mutating func release(_ sequence: Sequence) {
        share(sequence, upTo: sequence.computed)
        for page in sequence.pages[sequence.shared...] { pool.release(page) }
        for page in sequence.pages[..<sequence.shared].reversed() { tree.release(page) }
        sequence.pages = []
        sequence.shared = 0
        sequence.computed = 0
        sequence.firstStalePage = 0
    }

    /// Empties the tree of the pages that nobody uses.
    mutating func flush() {
        while let page = tree.evict() { pool.release(page) }
    }

    /// Checks that every page is in exactly one place.
    ///
    /// - Parameter sequences: all that have pages.
    func checkIntegrity(_ sequences: [Sequence]) {
        var isSeen = [Bool](repeating: false, count: pool.pageCount)
        let held = tree.checkIntegrity(held: sequences.map { ($0.pages[..<$0.shared], $0.tokens) })
        for page in [pool.free, held, sequences.flatMap { $0.pages[$0.shared...] }].joined() {
            precondition(!isSeen[Int(page)], "page \(page) is in two places")
            isSeen[Int(page)] = true
        }
        precondition(!isSeen.contains(false), "a page is in no place")
        for sequence in sequences {
            precondition(sequence.computed <= sequence.pages.count * pageSize, "tokens are in no page")
        }
    }

    /// The tree's page for page `index` of a sequence, if the sequence need not compute it itself. The last token is
    /// always computed, for its logits.
    private func reusable(_ sequence: Sequence, after parent: Int32, index: Int) -> Int32? {
        let limit = min(max(sequence.firstNeeded, sequence.reached), sequence.tokens.count - 1, shareable(sequence))
        guard reusesPrefixes, (index + 1) * pageSize <= limit else { return nil }
        return tree.child(of: parent, sequence.tokens, page: index)
    }

    private mutating func replacePage(of sequence: Sequence, with page: Int32) {
        pool.release(sequence.pages[sequence.shared])
        sequence.pages[sequence.shared] = page
        sequence.firstStalePage = min(sequence.firstStalePage, sequence.shared)
    }

    /// How many of a sequence's first tokens may be in shared pages.
    private func shareable(_ sequence: Sequence) -> Int { sharesOutput ? .max : sequence.promptCount }

    private func lastShared(_ sequence: Sequence) -> Int32 {
        sequence.shared == 0 ? PrefixTree.none : sequence.pages[sequence.shared - 1]
    }
}
