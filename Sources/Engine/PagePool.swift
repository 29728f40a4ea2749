// PagePool: which pages of the KV cache are free.
//
// Owner: the engine. Invariant: every page is in the free list or leased, never both, never twice.
// The page freed last is leased first, so a lightly used cache touches little memory.

/// The pages of the KV cache.
struct PagePool: Equatable {
    /// Pages in all.
    let pageCount: Int
    private var free: [Int32]

    /// A pool of `pageCount` free pages.
    init(pageCount: Int) {
        self.pageCount = pageCount
        free = (0..<pageCount).reversed().map(Int32.init)
    }

    /// Pages that nobody holds.
    var freeCount: Int { free.count }

    /// Takes `count` pages; nil, and nothing taken, when fewer are free.
    mutating func lease(_ count: Int) -> [Int32]? {
        guard count <= free.count else { return nil }
        let pages = Array(free.suffix(count).reversed())
        free.removeLast(count)
        return pages
    }

    /// Gives pages back.
    mutating func release(_ pages: [Int32]) { free.append(contentsOf: pages.reversed()) }

    /// Checks the invariant against the pages that are leased.
    func checkIntegrity(leased: [[Int32]]) {
        var seen = [Bool](repeating: false, count: pageCount)
        for page in free + leased.joined() {
            precondition(!seen[Int(page)], "page \(page) is in two places")
            seen[Int(page)] = true
        }
        precondition(!seen.contains(false), "a page is in no place")
    }
}
