// EngineThread: the one thread on which the engine actor runs, because a step blocks for milliseconds and must never
// starve the cooperative pool.
//
// Owner: the actor that uses it as its executor. Jobs run in order of arrival. The queue is the shared state: one mutex.

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Darwin
#endif

/// A serial executor with a thread of its own, which ends with the executor.
final class EngineThread: SerialExecutor {
    private let queue = JobQueue()

    /// Starts the thread.
    init() { queue.start() }

    deinit { queue.close() }

    func enqueue(_ job: consuming ExecutorJob) {
        let unowned = UnownedJob(job)
        let executor = asUnownedSerialExecutor()
        queue.add { unowned.runSynchronously(on: executor) }
    }

    /// Lets jobs that arrived meanwhile run first. `Task.yield` would go by way of the cooperative pool, and a pool that
    /// is busy with text would hold up every step.
    func yield() async {
        await withUnsafeContinuation { continuation in queue.add { continuation.resume() } }
    }

    /// Runs blocking `work` on the thread.
    func perform<Result: Sendable>(_ work: @escaping @Sendable () throws -> Result) async throws -> Result {
        try await withCheckedThrowingContinuation { continuation in
            queue.add { continuation.resume(with: Swift.Result(catching: work)) }
        }
    }
}

/// Work for a thread, in order.
private final class JobQueue: @unchecked Sendable {  // everything below the mutex is touched under it only
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var jobs: [() -> Void] = []
    private var isClosed = false

    init() {
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(condition, nil)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    /// Starts the thread, which keeps the queue alive until it is closed and empty.
    func start() {
        let queue = Unmanaged.passRetained(self)
        #if canImport(Glibc)
            var thread = pthread_t()
        #else
            var thread: pthread_t?
        #endif
        let status = pthread_create(&thread, nil, runQueue, queue.toOpaque())
        precondition(status == 0, "the system has no thread left for the engine (error \(status))")
        #if canImport(Glibc)
            pthread_detach(thread)
        #else
            if let thread { pthread_detach(thread) }
        #endif
    }

    func add(_ job: @escaping () -> Void) {
        pthread_mutex_lock(mutex)
        jobs.append(job)
        pthread_cond_signal(condition)
        pthread_mutex_unlock(mutex)
    }

    func close() {
        pthread_mutex_lock(mutex)
        isClosed = true
        pthread_cond_signal(condition)
        pthread_mutex_unlock(mutex)
    }

    func run() {
        var batch: [() -> Void] = []
        while true {
            pthread_mutex_lock(mutex)
            while jobs.isEmpty, !isClosed { pthread_cond_wait(condition, mutex) }
            swap(&batch, &jobs)
            pthread_mutex_unlock(mutex)
            guard !batch.isEmpty else { return }
            for job in batch { job() }
            batch.removeAll(keepingCapacity: true)
        }
    }
}

#if canImport(Glibc)
    private func runQueue(_ queue: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
        if let queue { Unmanaged<JobQueue>.fromOpaque(queue).takeRetainedValue().run() }
        return nil
    }
#else
    private func runQueue(_ queue: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer? {
        Unmanaged<JobQueue>.fromOpaque(queue).takeRetainedValue().run()
        return nil
    }
#endif
