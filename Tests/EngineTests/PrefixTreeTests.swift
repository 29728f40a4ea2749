import Testing

@testable import Engine

@Suite struct PagePoolTests {
    @Test("the page freed last is leased first")
    func order() {
        var pool = PagePool(pageCount: 3)
        let all = (0..<4).map { _ in pool.lease() }
        #expect(all == [0, 1, 2, nil])
        pool.release(1)
        pool.release(0)
        let again = (0..<2).map { _ in pool.lease() }
        #expect(again == [0, 1])
    }
}

@Suite struct PrefixTreeTests {
    private let none = PrefixTree.none

    @Test("a page is found by its tokens and all that lie before")
    func lookup() {
        var tree = PrefixTree(pageCount: 8, pageSize: 2)
        let tokens: [Int32] = [1, 2, 1, 2, 3, 4]
        #expect(tree.child(of: none, tokens, page: 0) == nil)
        tree.insert(5, after: none, tokens, page: 0)
        tree.insert(3, after: 5, tokens, page: 1)
        #expect(tree.child(of: none, tokens, page: 0) == 5)
        #expect(tree.child(of: none, tokens, page: 1) == 5)
        #expect(tree.child(of: 5, tokens, page: 1) == 3)
        #expect(tree.child(of: 3, tokens, page: 1) == nil)
        #expect(tree.child(of: 5, tokens, page: 2) == nil)
        let pages: [Int32] = [5, 3]
        #expect(Set(tree.checkIntegrity(held: [(pages[...], tokens)])) == [3, 5])
    }

    @Test("the leaf that was not used for longest goes first; what is held stays")
    func eviction() {
        var tree = PrefixTree(pageCount: 8, pageSize: 1)
        // 0 ─ 1 ─ 2, and 0 ─ 3.
        tree.insert(0, after: none, [10, 11, 12], page: 0)
        tree.insert(1, after: 0, [10, 11, 12], page: 1)
        tree.insert(2, after: 1, [10, 11, 12], page: 2)
        tree.hold(0)
        tree.insert(3, after: 0, [10, 13], page: 1)
        let early = tree.evict()
        #expect(early == nil)
        for page: Int32 in [2, 1, 0] { tree.release(page) }
        #expect(tree.idleCount == 2)
        for page: Int32 in [3, 0] { tree.release(page) }
        // The first branch is used again.
        for page: Int32 in [0, 1] { tree.hold(page) }
        let idle = (0..<3).map { _ in tree.evict() }
        #expect(idle == [2, 3, nil])
        for page: Int32 in [1, 0] { tree.release(page) }
        let rest = (0..<3).map { _ in tree.evict() }
        #expect(rest == [1, 0, nil])
        #expect(tree.child(of: none, [10], page: 0) == nil)
        #expect(tree.checkIntegrity(held: []).isEmpty)
    }
}
