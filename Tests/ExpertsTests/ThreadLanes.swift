// ThreadLanes: lanes as real threads, for tests.

import Experts
import Foundation

/// Runs every lane on a thread of the system's pool.
struct ThreadLanes: Lanes {
    var laneCount: Int

    func forEachLane(_ body: (Int) -> Void) {
        withoutActuallyEscaping(body) { body in
            let shared = Shared(body: body)
            DispatchQueue.concurrentPerform(iterations: laneCount) { shared.body($0) }
        }
    }

    private struct Shared: @unchecked Sendable {  // lanes write disjoint memory
        let body: (Int) -> Void
    }
}
