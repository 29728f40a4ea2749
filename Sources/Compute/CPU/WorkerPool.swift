// WorkerPool: the threads that compute. One caller at a time splits a kernel's items, or lanes, among them.
//
// Owner: whoever calls `run`, one thread at a time; the workers belong to the pool.
// Method: guided self-scheduling (Polychronopoulos and Kuck, 1987): who is free claims its share of half of what is left,
//         so that claims are few and all threads end together. A 64-bit ticket holds the job's number and the items left;
//         a claim is one compare-and-swap, and a worker that never wakes costs nothing. Idle workers spin for a few microseconds (the next op usually follows at once), then sleep.

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
    private let ticket = Atomic<UInt64>(0)  // job number << 32 | items left
    /// Items that are worth a claim, in the job of the ticket.
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
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(condition, nil)
        for _ in 1..<threadCount { startWorker() }
    }

    deinit {
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

    /// Runs `kernel` over `items` items, fewer than 2³², which any thread may compute in ranges of at least `grain`.
    func run(_ kernel: cpu_kernel, _ arguments: UnsafeRawPointer, items: Int, grain: Int) {
        guard items > 0 else { return }
        precondition(items < 1 << 32, "more items than a ticket counts")
        guard items > grain, threadCount > 1 else { return kernel(arguments, 0, items) }
        job = Job(kernel: kernel, arguments: arguments)
        self.grain.store(grain, ordering: .relaxed)
        finished.store(0, ordering: .relaxed)
        let number = (ticket.load(ordering: .relaxed) >> 32) &+ 1
        ticket.store(number << 32 | UInt64(items), ordering: .sequentiallyConsistent)
        if sleepers.load(ordering: .sequentiallyConsistent) > 0 { wakeWorkers() }
        while runSomeItems() {}
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

    /// Claims and computes a range of items, if any are left.
    private func runSomeItems() -> Bool {
        var current = ticket.load(ordering: .acquiring)
        while current & 0xFFFF_FFFF > 0 {
            let left = Int(current & 0xFFFF_FFFF)
            // Of this ticket's job, or the exchange fails.
            let count = min(left, max(grain.load(ordering: .relaxed), left / (2 * threadCount)))
            let (exchanged, original) = ticket.weakCompareExchange(
                expected: current, desired: current - UInt64(count), ordering: .acquiringAndReleasing)
            guard exchanged else {
                current = original
                continue
            }
            // Claimed items keep their job from finishing, so `job` is the one that the ticket named.
            guard let job else { return false }
            job.kernel(job.arguments, left - count, left)
            finished.wrappingAdd(count, ordering: .releasing)
            return true
        }
        return false
    }

    /// A worker's life.
    fileprivate func work() {
        let number = started.wrappingAdd(1, ordering: .relaxed).oldValue
        if number < places.count { cpu_pin(Int32(truncatingIfNeeded: places[number])) }
        while true {
            var rounds = 0
            while rounds < Self.spins {
                if runSomeItems() { rounds = 0 } else { rounds += 1 }
                cpu_relax()
            }
            pthread_mutex_lock(mutex)
            sleepers.wrappingAdd(1, ordering: .sequentiallyConsistent)
            let current = ticket.load(ordering: .sequentiallyConsistent)
            let seen = current & 0xFFFF_FFFF == 0 ? current >> 32 : current >> 32 &- 1
            // Until a job that was not seen before: one that wakes too late for it spins for the next instead.
            while ticket.load(ordering: .sequentiallyConsistent) >> 32 == seen,
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
