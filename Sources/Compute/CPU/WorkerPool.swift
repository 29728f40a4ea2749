// WorkerPool: the threads that compute. One caller at a time splits a kernel's items, or lanes, among them.
//
// Owner: whoever calls `run`, one thread at a time; the workers belong to the pool.
// Method: work stealing (Blumofe and Leiserson, 1999). Each thread has a share of the items, one contiguous range, and claims
//         halves of what is left of it from the front, so that a thread reads one stream of memory; whoever has none left
//         claims from the back of the largest share. So claims are few, all threads end together, and a worker that never
//         wakes costs nothing. A claim is one compare-and-swap. Idle workers spin for a few microseconds (the next op usually
//         follows at once), then sleep.

internal import CPUKernels
public import Experts
internal import Synchronization

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Darwin
#endif

/// A fixed set of threads that run C kernels over ranges.
public final class WorkerPool: Lanes, @unchecked Sendable {  // `job` is written only while no item is claimable
    /// Threads that compute, the caller's included.
    public let threadCount: Int

    private struct Job {
        var kernel: cpu_kernel
        var arguments: UnsafeRawPointer
    }

    private var job: Job?
    /// What is left of each thread's share: begin << 32 | end, one in each `apart`.
    private let shares: UnsafeMutablePointer<Atomic<UInt64>>
    /// Words from share to share: two cache lines, which processors fetch together.
    private static let apart = 16
    /// How many jobs there were.
    private let jobs = Atomic<Int>(0)
    /// Items of the job that are worth a claim.
    private let grain = Atomic<Int>(1)
    /// Items of it that are computed.
    private let finished = Atomic<Int>(0)
    private let sleepers = Atomic<Int>(0)
    private let stopping = Atomic<Bool>(false)
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var threads: [pthread_t] = []
    /// The CPU of each worker, if they stay on one.
    private let places: [Int]
    private let started = Atomic<Int>(0)

    /// Rounds of spinning before a worker sleeps: some 50 µs.
    private static let spins = 2000

    /// Starts `threads - 1` workers; the caller of `run` is the last thread.
    ///
    /// - Parameters:
    ///   - threads: how many compute, the caller included.
    ///   - pinsThreads: whether each worker stays on a CPU of its own, all but the first, if there is a thread for each CPU
    ///     that this process may use. With fewer they stay free, or two processes would meet on the same CPUs while others
    ///     idle; and so does the caller, because threads that it starts would stay on its CPU with it.
    public init(threads: Int, pinsThreads: Bool = false) {
        threadCount = max(1, threads)
        let allowed = pinsThreads ? Processors.allowed : []
        places = allowed.count == threadCount ? Array(allowed.dropFirst()) : []
        shares = .allocate(capacity: threadCount * Self.apart)
        for index in 0..<threadCount * Self.apart { (shares + index).initialize(to: Atomic(0)) }
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(condition, nil)
        for _ in 1..<threadCount { startWorker() }
    }

    deinit {
        shares.deinitialize(count: threadCount * Self.apart)
        shares.deallocate()
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    private func startWorker() {
        let pool = Unmanaged.passRetained(self)
        #if canImport(Glibc)
            var thread = pthread_t()
        #else
            var thread: pthread_t?
        #endif
        if pthread_create(&thread, nil, workerMain, pool.toOpaque()) == 0 {
            #if canImport(Glibc)
                threads.append(thread)
            #else
                if let thread { threads.append(thread) }
            #endif
        } else {
            pool.release()  // fewer workers, the same results
        }
    }

    /// Ends the workers, which keep the pool alive until then.
    public func stop() {
        stopping.store(true, ordering: .sequentiallyConsistent)
        wakeWorkers()
        for thread in threads { pthread_join(thread, nil) }
        threads = []
    }

    /// How many shares `run` divides items into: share s of n begins with item `items * s / n`.
    func shareCount(items: Int, grain: Int) -> Int { max(1, min(threadCount, items / max(1, grain))) }

    /// Runs `kernel` over `items` items, fewer than 2³², which any thread may compute in ranges of at least `grain`.
    func run(_ kernel: cpu_kernel, _ arguments: UnsafeRawPointer, items: Int, grain: Int) {
        guard items > 0 else { return }
        precondition(items < 1 << 32, "more items than a share counts")
        let shareCount = shareCount(items: items, grain: grain)
        guard shareCount > 1 else { return kernel(arguments, 0, items) }
        job = Job(kernel: kernel, arguments: arguments)
        self.grain.store(grain, ordering: .relaxed)
        finished.store(0, ordering: .relaxed)
        var begin = 0
        for share in 0..<shareCount {
            let end = items * (share + 1) / shareCount
            shares[share * Self.apart].store(Self.word(begin..<end), ordering: .releasing)
            begin = end
        }
        jobs.wrappingAdd(1, ordering: .sequentiallyConsistent)
        if sleepers.load(ordering: .sequentiallyConsistent) > 0 { wakeWorkers() }
        runItems(of: 0)
        var rounds = 0
        while finished.load(ordering: .acquiring) < items {
            cpu_relax()
            rounds += 1
            if rounds > Self.spins { sched_yield() }
        }
    }

    /// How many lanes a call is divided into: two per thread, so that a thread that was held up leaves work to the others.
    public var laneCount: Int { threadCount == 1 ? 1 : 2 * threadCount }

    /// Calls `body` with `job` and each lane.
    public func forEachLane(_ job: UnsafeRawPointer, _ body: @convention(c) (UnsafeRawPointer, Int) -> Void) {
        withUnsafePointer(to: LaneJob(job: job, body: body)) {
            run(
                { arguments, begin, end in
                    guard let job = arguments?.assumingMemoryBound(to: LaneJob.self).pointee else { return }
                    for lane in begin..<end { job.body(job.job, lane) }
                }, $0, items: laneCount, grain: 1)
        }
    }

    /// What the lanes of one call run.
    private struct LaneJob {
        var job: UnsafeRawPointer
        var body: @convention(c) (UnsafeRawPointer, Int) -> Void
    }

    private func wakeWorkers() {
        pthread_mutex_lock(mutex)
        pthread_cond_broadcast(condition)
        pthread_mutex_unlock(mutex)
    }

    /// Computes the share of a thread, then of others' what is left, until all items are claimed.
    private func runItems(of thread: Int) {
        var computed = 0
        while let range = claim(shares[thread * Self.apart], fromFront: true) { computed += compute(range) }
        if computed > 0 { finished.wrappingAdd(computed, ordering: .releasing) }
        while let victim = largestShare() {
            guard let range = claim(shares[victim * Self.apart], fromFront: false) else { continue }
            finished.wrappingAdd(compute(range), ordering: .releasing)
        }
    }

    /// Whose share has the most items left; nil if none has.
    private func largestShare() -> Int? {
        var (most, owner) = (0, Int?.none)
        for thread in 0..<threadCount {
            let left = Self.range(shares[thread * Self.apart].load(ordering: .relaxed))
            if left.count > most { (most, owner) = (left.count, thread) }
        }
        return owner
    }

    /// Computes claimed items; how many they are. Their job cannot finish before, so it is the one in `job`.
    private func compute(_ range: Range<Int>) -> Int {
        guard let job else { return 0 }
        job.kernel(job.arguments, range.lowerBound, range.upperBound)
        return range.count
    }

    /// Claims half of what is left of a share, or all where half is less than the grain; nil if nothing is left.
    private func claim(_ share: borrowing Atomic<UInt64>, fromFront: Bool) -> Range<Int>? {
        var current = share.load(ordering: .acquiring)
        while true {
            let left = Self.range(current)
            guard !left.isEmpty else { return nil }
            let half = left.count / 2
            let count = half < grain.load(ordering: .relaxed) ? left.count : half
            let border = fromFront ? left.lowerBound + count : left.upperBound - count
            let (front, back) = (left.lowerBound..<border, border..<left.upperBound)
            let (exchanged, original) = share.weakCompareExchange(
                expected: current, desired: Self.word(fromFront ? back : front), ordering: .acquiringAndReleasing)
            if exchanged { return fromFront ? front : back }
            current = original
        }
    }

    /// The range that a share keeps as `word`; its begin never passes its end.
    private static func range(_ word: UInt64) -> Range<Int> {
        Range(uncheckedBounds: (Int(word >> 32), Int(word & 0xFFFF_FFFF)))
    }

    /// A range as a share keeps it.
    private static func word(_ range: Range<Int>) -> UInt64 {
        UInt64(range.lowerBound) << 32 | UInt64(range.upperBound)
    }

    /// A worker's life.
    fileprivate func work() {
        let number = started.wrappingAdd(1, ordering: .relaxed).oldValue
        if number < places.count { cpu_pin(Int32(truncatingIfNeeded: places[number])) }
        var seen = 0
        while true {
            var rounds = 0
            while rounds < Self.spins {
                let current = jobs.load(ordering: .acquiring)
                if current == seen {
                    rounds += 1
                } else {
                    seen = current
                    runItems(of: number + 1)
                    rounds = 0
                }
                cpu_relax()
            }
            pthread_mutex_lock(mutex)
            sleepers.wrappingAdd(1, ordering: .sequentiallyConsistent)
            while jobs.load(ordering: .sequentiallyConsistent) == seen,
                !stopping.load(ordering: .sequentiallyConsistent)
            {
                pthread_cond_wait(condition, mutex)
            }
            sleepers.wrappingSubtract(1, ordering: .sequentiallyConsistent)
            pthread_mutex_unlock(mutex)
            if stopping.load(ordering: .sequentiallyConsistent) { return }
        }
    }
}

#if canImport(Glibc)
    private func workerMain(_ pool: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
        if let pool { Unmanaged<WorkerPool>.fromOpaque(pool).takeRetainedValue().work() }
        return nil
    }
#else
    private func workerMain(_ pool: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer? {
        Unmanaged<WorkerPool>.fromOpaque(pool).takeRetainedValue().work()
        return nil
    }
#endif
