import CPUKernels
import Foundation
import Support
import Synchronization
import Testing

@testable import Compute

/// What the test kernels write; `counts` has one counter for each item.
private struct Counters {
    var counts: UnsafeMutablePointer<Atomic<Int>>
    var items: Int
    var grain: Int
    /// Ranges that are empty, leave the items, or are shorter than the grain without being all items.
    var badRanges: UnsafeMutablePointer<Atomic<Int>>
}

private func countItems(_ raw: UnsafeRawPointer?, begin: Int, end: Int) {
    guard let counters = raw?.load(as: Counters.self) else { return }
    if begin < 0 || begin >= end || end > counters.items || end - begin < min(counters.grain, counters.items) {
        counters.badRanges.pointee.wrappingAdd(1, ordering: .relaxed)
        return
    }
    for item in begin..<end { counters.counts[item].wrappingAdd(1, ordering: .relaxed) }
}

/// How many threads have come to a job that none may leave before all are there.
private struct Meeting {
    var expected: Int
    var arrived: UnsafeMutablePointer<Atomic<Int>>
    var deadline: ContinuousClock.Instant
}

private func meet(_ raw: UnsafeRawPointer?, begin: Int, end: Int) {
    guard let meeting = raw?.load(as: Meeting.self) else { return }
    meeting.arrived.pointee.wrappingAdd(1, ordering: .sequentiallyConsistent)
    while meeting.arrived.pointee.load(ordering: .sequentiallyConsistent) < meeting.expected,
        ContinuousClock.now < meeting.deadline
    {
        cpu_relax()
    }
}

@Suite(.timeLimit(.minutes(1))) struct WorkerPoolTests {
    /// Runs a counting job; how often each item was computed, and how many ranges were wrong.
    private func count(_ items: Int, grain: Int, on pool: WorkerPool) -> (counts: [Int], badRanges: Int) {
        let atomics = UnsafeMutablePointer<Atomic<Int>>.allocate(capacity: items + 1)
        for index in 0...items { (atomics + index).initialize(to: Atomic(0)) }
        defer {
            atomics.deinitialize(count: items + 1)
            atomics.deallocate()
        }
        let counters = Counters(counts: atomics, items: items, grain: grain, badRanges: atomics + items)
        withUnsafePointer(to: counters) {
            pool.run(countItems, UnsafeRawPointer($0), items: items, grain: grain)
        }
        let result = (0...items).map { atomics[$0].load(ordering: .relaxed) }
        return (Array(result.dropLast()), result[items])
    }

    @Test("every item is computed exactly once, in ranges of at least the grain", arguments: [1, 2, 3, 4, 16])
    func once(threads: Int) {
        let pool = WorkerPool(threads: threads)
        defer { pool.stop() }
        #expect(pool.threadCount == threads)
        for items in [0, 1, 2, 3, 7, 16, 63, 64, 65, 1000, 4096] {
            for grain in [1, 2, 5, 64, 5000] {
                let result = count(items, grain: grain, on: pool)
                #expect(result.counts.allSatisfy { $0 == 1 }, "\(items) items, grain \(grain)")
                #expect(result.badRanges == 0, "\(items) items, grain \(grain)")
            }
        }
    }

    @Test("thousands of tiny jobs back to back lose nothing", arguments: [2, 4, 8])
    func tiny(threads: Int) {
        let pool = WorkerPool(threads: threads)
        defer { pool.stop() }
        var generator = SeededGenerator(seed: 51)
        for job in 0..<5000 {
            let items = Int.random(in: 1...40, using: &generator)
            let result = count(items, grain: 1, on: pool)
            guard result.counts.allSatisfy({ $0 == 1 }), result.badRanges == 0 else {
                Issue.record("job \(job) of \(items) items computed them \(result.counts) times")
                return
            }
        }
    }

    @Test("workers that sleep wake for the next job", arguments: [2, 3, 6])
    func wake(threads: Int) {
        let pool = WorkerPool(threads: threads)
        defer { pool.stop() }
        let arrived = UnsafeMutablePointer<Atomic<Int>>.allocate(capacity: 1)
        defer { arrived.deallocate() }
        for _ in 0..<5 {
            Thread.sleep(forTimeInterval: 0.02)  // much longer than a worker spins
            arrived.initialize(to: Atomic(0))
            let meeting = Meeting(expected: threads, arrived: arrived, deadline: .now + .seconds(20))
            // One chunk for each thread, and none can finish before all have begun.
            withUnsafePointer(to: meeting) { pool.run(meet, UnsafeRawPointer($0), items: threads, grain: 1) }
            #expect(arrived.pointee.load(ordering: .relaxed) == threads)
            #expect(ContinuousClock.now < meeting.deadline, "all \(threads) threads were in the job at once")
            arrived.deinitialize(count: 1)
        }
    }

    @Test("stop ends the workers, and a job after it is computed by its caller", arguments: [1, 2, 8])
    func stop(threads: Int) {
        var pool: WorkerPool? = WorkerPool(threads: threads)
        weak let released = pool
        // Workers keep their pool alive; it goes when the last of them has ended.
        pool?.stop()
        if let pool {
            let result = count(100, grain: 1, on: pool)
            #expect(result.counts.allSatisfy { $0 == 1 })
        }
        pool?.stop()  // a second time does nothing
        pool = nil
        #expect(released == nil)
    }

    @Test("a pool has at least its caller's thread", arguments: [0, -3])
    func atLeastOne(threads: Int) {
        let pool = WorkerPool(threads: threads)
        defer { pool.stop() }
        #expect(pool.threadCount == 1)
        #expect(count(10, grain: 1, on: pool).counts == [Int](repeating: 1, count: 10))
    }
}
