import Experts
import Testing

@testable import Engine

@Suite struct SchedulerTests {
    private func progress(_ computed: Int, _ known: Int, prompt: Int) -> Scheduler.Progress {
        Scheduler.Progress(computed: computed, known: known, prompt: prompt)
    }

    @Test("those that decode come first, then prompts in order of arrival until the pass is full")
    func order() {
        let scheduler = Scheduler(maxRunning: 8, prefillBudget: 10)
        var batch = Batch()
        scheduler.next(
            [
                progress(0, 7, prompt: 7), progress(9, 10, prompt: 9), progress(4, 30, prompt: 30),
                progress(0, 5, prompt: 5),
            ],
            into: &batch)
        #expect(
            batch.entries == [
                .init(sequence: 1, start: 9, count: 1, isLast: true, isDecode: true),
                .init(sequence: 0, start: 0, count: 7, isLast: true, isDecode: false),
                .init(sequence: 2, start: 4, count: 3, isLast: false, isDecode: false),
            ])
        #expect(batch.tokens == 11)
        #expect(batch.mode == .mixed)
    }

    @Test("a prompt of one token is prompt, not decode") func singleToken() {
        var batch = Batch()
        Scheduler(maxRunning: 1, prefillBudget: 4).next([progress(0, 1, prompt: 1)], into: &batch)
        #expect(batch.mode == .extend)
        Scheduler(maxRunning: 1, prefillBudget: 4).next([progress(1, 2, prompt: 1)], into: &batch)
        #expect(batch.mode == .decode)
    }

    @Test("every prompt token is computed exactly once, whatever the budget", arguments: [1, 2, 5, 64])
    func chunks(budget: Int) {
        let scheduler = Scheduler(maxRunning: 4, prefillBudget: budget)
        let prompts = [13, 1, 40]
        var computed = [0, 0, 0]
        var batch = Batch()
        for _ in 0..<200 {
            scheduler.next(
                zip(computed, prompts).map { progress($0, $1, prompt: $1) }.enumerated().map { $1 }, into: &batch)
            let prefill = batch.entries.filter { !$0.isDecode }
            #expect(prefill.reduce(0) { $0 + $1.count } <= budget)
            for entry in prefill {
                #expect(entry.start == computed[entry.sequence])
                computed[entry.sequence] += entry.count
                #expect(entry.isLast == (computed[entry.sequence] == prompts[entry.sequence]))
            }
            if computed == prompts { return }
        }
        Issue.record("prompts were not finished: \(computed)")
    }

    @Test("a request joins only when a place and all its pages are free") func admission() {
        let scheduler = Scheduler(maxRunning: 2, prefillBudget: 4)
        #expect(scheduler.admits(pages: 3, running: 1, freePages: 3))
        #expect(!scheduler.admits(pages: 4, running: 1, freePages: 3))
        #expect(!scheduler.admits(pages: 1, running: 2, freePages: 3))
    }
}

@Suite struct PagePoolTests {
    @Test("pages are in one place at any time") func integrity() {
        var pool = PagePool(pageCount: 10)
        let a = pool.lease(4) ?? []
        let b = pool.lease(6) ?? []
        #expect(Set(a + b).count == 10)
        #expect(pool.lease(1) == nil)
        pool.checkIntegrity(leased: [a, b])
        pool.release(a)
        #expect(pool.freeCount == 4)
        pool.checkIntegrity(leased: [b])
        #expect(pool.lease(4) == a)
    }
}
