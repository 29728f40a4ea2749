// Sampler: logits to the next token.
//
// Order, after sglang: additive penalties on output tokens, suppression of stop ids, repetition penalty, bias;
// temperature; then top-k, top-p and min-p together, each on the unfiltered distribution. Ties go to the lower id.

internal import Compute

/// What one request's sampling remembers.
struct SamplerState {
    /// How often each id was output; kept only when a penalty asks for it.
    var counts: [Int32: Int] = [:]
    /// The request's own random sequence.
    var random: RandomSequence
}

/// A seeded sequence of random numbers. SplitMix64, after Steele, Lea and Flood (OOPSLA 2014).
struct RandomSequence {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    /// Uniform in [0, 1), 53 bits.
    mutating func next() -> Double {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        mixed ^= mixed >> 31
        return Double(mixed >> 11) * 0x1p-53
    }
}

/// Chooses tokens; owns scratch for one row of logits.
final class Sampler {
    private let vocabularySize: Int
    private let probabilities: UnsafeMutablePointer<Float>
    private let order: UnsafeMutablePointer<Int32>
    private let kept: UnsafeMutablePointer<Float>
    private let backend: any Backend

    init(vocabularySize: Int, backend: any Backend) {
        self.vocabularySize = vocabularySize
        self.backend = backend
        probabilities = .allocate(capacity: vocabularySize)
        order = .allocate(capacity: vocabularySize)
        kept = .allocate(capacity: vocabularySize)
    }

    deinit {
        probabilities.deallocate()
        order.deallocate()
        kept.deallocate()
    }

    /// A copy of a row of logits, valid until the next call.
    func keep(_ logits: UnsafePointer<Float>) -> UnsafePointer<Float> {
        kept.update(from: logits, count: vocabularySize)
        return UnsafePointer(kept)
    }

    /// Chooses a token and counts it.
    ///
    /// - Parameters:
    ///   - logits: one row, changed in place.
    ///   - best: lowest index of the largest logit.
    ///   - maximum: that logit.
    ///   - parameters: the request's.
    ///   - suppressed: ids that may not come yet.
    ///   - state: what the request's sampling remembers.
    /// - Returns: the chosen id.
    func choose(
        _ logits: UnsafeMutablePointer<Float>, best: Int32, maximum: Float, parameters: SamplingParameters,
        suppressed: some Collection<Int32>, state: inout SamplerState
    ) -> Int32 {
        let changed = adjust(logits, parameters, suppressed: suppressed, counts: state.counts)
        var (best, maximum) = (best, maximum)
        if changed {
            best = 0
            maximum = -.infinity
            for id in 0..<vocabularySize where logits[id] > maximum {
                maximum = logits[id]
                best = Int32(id)
            }
        }
        let token =
            parameters.isGreedy || !maximum.isFinite
            ? best : draw(logits, maximum: maximum, parameters, random: &state.random)
        if parameters.hasPenalty { state.counts[token, default: 0] += 1 }
        return token
    }

    /// Applies penalties, bias and suppression; returns whether anything changed.
    func adjust(
        _ logits: UnsafeMutablePointer<Float>, _ parameters: SamplingParameters,
        suppressed: some Collection<Int32>, counts: [Int32: Int]
    ) -> Bool {
        for (id, count) in counts {
            var logit = logits[Int(id)]
            logit -= parameters.frequencyPenalty * Float(count) + parameters.presencePenalty
            logits[Int(id)] = logit
        }
        for id in suppressed where id >= 0 && Int(id) < vocabularySize { logits[Int(id)] = -.infinity }
        if parameters.repetitionPenalty != 1 {
            for id in counts.keys {
                let logit = logits[Int(id)]
                logits[Int(id)] =
                    logit > 0 ? logit / parameters.repetitionPenalty : logit * parameters.repetitionPenalty
            }
        }
        for (id, bias) in parameters.logitBias { logits[Int(id)] += bias }
        return !counts.isEmpty || !suppressed.isEmpty || !parameters.logitBias.isEmpty
    }

    private func draw(
        _ logits: UnsafePointer<Float>, maximum: Float, _ parameters: SamplingParameters,
        random: inout RandomSequence
    ) -> Int32 {
        let kept = filter(logits, maximum: maximum, parameters)
        let target = random.next() * kept.total
        var cumulative = 0.0
        for index in 0..<kept.count {
            let id = kept.isSorted ? order[index] : Int32(index)
            cumulative += Double(probabilities[Int(id)])
            if cumulative > target { return id }
        }
        return kept.isSorted ? order[kept.count - 1] : Int32(kept.count - 1)
    }

    /// The ids that may be drawn: the first `count` of `order` by descending probability, or all ids.
    struct Kept {
        var count: Int
        var total: Double
        var isSorted: Bool
    }

    /// Fills `probabilities` (not normalised) and chooses the ids that survive top-k, top-p and min-p.
    func filter(_ logits: UnsafePointer<Float>, maximum: Float, _ parameters: SamplingParameters) -> Kept {
        backend.exponentials(
            logits, count: vocabularySize, maximum: maximum, temperature: parameters.temperature,
            probabilities: probabilities)
        var total = 0.0
        for id in 0..<vocabularySize { total += Double(probabilities[id]) }
        let topK = parameters.topK < 1 ? vocabularySize : min(parameters.topK, vocabularySize)
        guard topK < vocabularySize || parameters.topP < 1 || parameters.minP > 0 else {
            return Kept(count: vocabularySize, total: total, isSorted: false)
        }
        var heap = DescendingHeap(probabilities, order: order, count: vocabularySize)
        // Popped ids gather at the end of `order`, last first; they are moved to the front below.
        var sum = 0.0
        var count = 0
        let limit = Double(parameters.topP) * total
        var floor: Float = 0
        while count < topK, heap.count > 0 {
            let probability = heap.top
            if count == 0 { floor = parameters.minP * probability }
            if count > 0, sum > limit || probability < floor { break }
            heap.pop()
            sum += Double(probability)
            count += 1
        }
        reverse(from: heap.count, count: vocabularySize - heap.count)
        return Kept(count: count, total: sum, isSorted: true)
    }

    /// Moves the popped ids `order[start...]`, which lie in ascending order, to the front in descending order.
    private func reverse(from start: Int, count: Int) {
        var (low, high) = (start, start + count - 1)
        while low < high {
            (order[low], order[high]) = (order[high], order[low])
            low += 1
            high -= 1
        }
        for index in 0..<count { order[index] = order[start + index] }
    }

    /// The surviving ids and their probabilities, normalised; for tests and inspection.
    func distribution(_ kept: Kept) -> [(id: Int32, probability: Double)] {
        (0..<kept.count).map { index in
            let id = kept.isSorted ? order[index] : Int32(index)
            return (id, Double(probabilities[Int(id)]) / kept.total)
        }
    }
}

/// A binary heap of ids by descending probability, then ascending id, in caller's memory. Popping moves the top behind
/// the heap's end.
private struct DescendingHeap {
    private let keys: UnsafePointer<Float>
    private let order: UnsafeMutablePointer<Int32>
    private(set) var count: Int

    init(_ keys: UnsafePointer<Float>, order: UnsafeMutablePointer<Int32>, count: Int) {
        self.keys = keys
        self.order = order
        self.count = count
        for index in 0..<count { order[index] = Int32(truncatingIfNeeded: index) }
        var index = count / 2
        while index > 0 {
            index -= 1
            siftDown(index)
        }
    }

    var top: Float { keys[Int(order[0])] }

    mutating func pop() {
        count -= 1
        (order[0], order[count]) = (order[count], order[0])
        siftDown(0)
    }

    private func precedes(_ a: Int32, _ b: Int32) -> Bool {
        let (left, right) = (keys[Int(a)], keys[Int(b)])
        return left > right || (left == right && a < b)
    }

    private func siftDown(_ start: Int) {
        var parent = start
        let id = order[parent]
        while true {
            var child = 2 * parent + 1
            guard child < count else { break }
            if child + 1 < count, precedes(order[child + 1], order[child]) { child += 1 }
            guard precedes(order[child], id) else { break }
            order[parent] = order[child]
            parent = child
        }
        order[parent] = id
    }
}

extension SamplingParameters {
    /// Whether output tokens must be counted.
    var hasPenalty: Bool { frequencyPenalty != 0 || presencePenalty != 0 || repetitionPenalty != 1 }
}
