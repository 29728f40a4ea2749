// PagePool: which pages of the KV cache are free.
//
// Owner: the scheduler. Invariant: every page is in the free list or handed out, never both, never twice.
// The page freed last is handed out first, so a lightly used cache touches little memory.

/// The pages of the KV cache.
struct PagePool: Equatable {
    /// Pages in all.
    let pageCount: Int
    /// Pages that nobody holds; the last is handed out next.
    private(set) var free: [Int32]

    /// A pool of `pageCount` free pages.
    init(pageCount: Int) {
        self.pageCount = pageCount
        free = (0..<pageCount).reversed().map(Int32.init)
    }

    /// Takes a page; nil when none is free.
    mutating func lease() -> Int32? { free.popLast() }

    /// Gives a page back.
    mutating func release(_ page: Int32) { free.append(page) }
}
