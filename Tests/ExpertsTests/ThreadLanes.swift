// ThreadLanes: lanes as real threads, for tests.

import Experts
import Foundation

/// Runs every lane on a thread of the system's pool.
struct ThreadLanes: Lanes {
    var laneCount: Int

    func forEachLane(_ job: UnsafeRawPointer, _ body: @convention(c) (UnsafeRawPointer, Int) -> Void) {
        let shared = Shared(job: job)
        DispatchQueue.concurrentPerform(iterations: laneCount) { body(shared.job, $0) }
    }

    private struct Shared: @unchecked Sendable {  // lanes write disjoint memory
        let job: UnsafeRawPointer
    }
}
