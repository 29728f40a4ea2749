// Replication: which experts get the redundant slots.
//
// Goals in order: the order and ties of DeepSeek's EPLB, float32 quotients, speed.
// Method: greedy; each redundant slot goes to the expert with the largest load per replica. Experts with one replica
//         wait in sorted order and those with more in a heap, so that a choice costs O(log R) and no scan of E.
// Source: DeepSeek EPLB, replication (github.com/deepseek-ai/EPLB).

/// Greedy replication of the experts of one layer, or of one node in it.
struct Replication: ~Copyable {
    /// E: experts.
    let experts: Int
    /// P: slots, at least E.
    let slots: Int
    /// Replicas of each expert; `[E]`.
    let counts: UnsafeMutablePointer<Int32>
    /// The expert in each slot, in order of creation: first all experts, then the extra replicas; `[P]`.
    let expertOf: UnsafeMutablePointer<Int32>
    /// The replica's number among its expert's, from 0; `[P]`.
    let rankOf: UnsafeMutablePointer<Int32>
    /// Slots as sort keys, by descending load per replica; `[P]`.
    let sorted: UnsafeMutablePointer<UInt64>

    private let keys: UnsafeMutablePointer<UInt64>
    private let singles: UnsafeMutablePointer<UInt64>
    /// Replicated experts by load per replica, the heaviest at the root; at most one entry per redundant slot.
    private let heap: UnsafeMutablePointer<UInt64>
    private let scratch: UnsafeMutablePointer<UInt32>

    /// Space for experts and slots.
    init(experts: Int, slots: Int) {
        self.experts = experts
        self.slots = slots
        counts = .allocate(capacity: experts)
        expertOf = .allocate(capacity: slots)
        rankOf = .allocate(capacity: slots)
        sorted = .allocate(capacity: slots)
        keys = .allocate(capacity: slots)
        singles = .allocate(capacity: experts)
        heap = .allocate(capacity: slots - experts + 1)
        scratch = .allocate(capacity: descendingSortScratch)
        for expert in 0..<experts { expertOf[expert] = Int32(truncatingIfNeeded: expert) }
        rankOf.update(repeating: 0, count: slots)
    }

    deinit {
        counts.deallocate()
        expertOf.deallocate()
        rankOf.deallocate()
        sorted.deallocate()
        keys.deallocate()
        singles.deallocate()
        heap.deallocate()
        scratch.deallocate()
    }

    /// Replicates for these loads; fills `counts`, `expertOf`, `rankOf` and `sorted`.
    ///
    /// - Parameter load: `[E]`.
    func replicate(_ load: UnsafePointer<Float>) {
        for expert in 0..<experts {
            keys[expert] = descendingKey(load[expert], expert)
            counts[expert] = 1
        }
        sortDescending(keys, into: singles, count: experts, scratch: scratch)
        let replicated = chooseReplicas(load)
        sortSlots(load, firstSingle: replicated)
    }

    /// Gives out the redundant slots.
    ///
    /// - Returns: how many experts got one; they are the first in `singles`.
    private func chooseReplicas(_ load: UnsafePointer<Float>) -> Int {
        var next = 0
        var heapCount = 0
        for slot in experts..<slots {
            let fromHeap = heapCount > 0 && (next == experts || heap[0] < singles[next])
            let expert = keyIndex(fromHeap ? heap[0] : singles[next])
            expertOf[slot] = Int32(truncatingIfNeeded: expert)
            rankOf[slot] = counts[expert]
            counts[expert] &+= 1
            let key = descendingKey(load[expert] / Float(counts[expert]), expert)
            if fromHeap {
                siftDown(key, count: heapCount)
            } else {
                next += 1
                heapCount += 1
                siftUp(key, count: heapCount)
            }
        }
        return next
    }

    /// Merges the slots of experts with one replica, already in order, with the sorted others.
    private func sortSlots(_ load: UnsafePointer<Float>, firstSingle: Int) {
        var replicas = 0
        for index in 0..<firstSingle {
            let expert = keyIndex(singles[index])
            keys[replicas] = descendingKey(load[expert] / Float(counts[expert]), expert)
            replicas += 1
        }
        for slot in experts..<slots {
            let expert = Int(expertOf[slot])
            keys[replicas] = descendingKey(load[expert] / Float(counts[expert]), slot)
            replicas += 1
        }
        // The tail of `sorted` takes the sorted replicas; merging from the front never overtakes it.
        let tail = sorted + (slots - replicas)
        sortDescending(keys, into: tail, count: replicas, scratch: scratch)
        var single = firstSingle
        var replica = 0
        var place = 0
        while single < experts, replica < replicas {
            let takesSingle = singles[single] < tail[replica]
            sorted[place] = takesSingle ? singles[single] : tail[replica]
            single &+= takesSingle ? 1 : 0
            replica &+= takesSingle ? 0 : 1
            place &+= 1
        }
        while single < experts {
            sorted[place] = singles[single]
            single &+= 1
            place &+= 1
        }
    }

    private func siftUp(_ key: UInt64, count: Int) {
        var hole = count - 1
        while hole > 0, heap[(hole - 1) / 2] > key {
            heap[hole] = heap[(hole - 1) / 2]
            hole = (hole - 1) / 2
        }
        heap[hole] = key
    }

    private func siftDown(_ key: UInt64, count: Int) {
        var hole = 0
        while 2 * hole + 1 < count {
            var child = 2 * hole + 1
            if child + 1 < count, heap[child + 1] < heap[child] { child += 1 }
            guard heap[child] < key else { break }
            heap[hole] = heap[child]
            hole = child
        }
        heap[hole] = key
    }
}
