// Scheduler: who runs, and which tokens go into the next pass. Integers only.
//
// A pass takes one token of each sequence that decodes, then prompt chunks: long prompts cannot hold up those who decode.
// The first prompt ends if a pass can hold it, and gets at least half of the prompt tokens if not; the rest goes to the
// shortest, so that they need not wait for the long ones. Prompts that fit share a pass as far as this lets all of them
// have their first token soonest, on average. No run crosses the end of its prompt where output is not shared.
//
// What was generated before, and is computed again after a preemption, stands before the prompts in a pass.
//
// Pages are leased as a sequence grows. When none is left to decode with, the last of those who run goes back to the
// queue, where its arrival puts it in front. It keeps its tokens, and the full pages that may be shared stay in the tree until
// somebody needs them; what is lost by then is computed again.

/// Who joins next (`--schedule-policy`).
public enum SchedulePolicy: Sendable {
    /// Who came first.
    case firstComeFirstServed
    /// Whose prompt has the longest prefix in the cache.
    case longestPrefixMatch
}

/// Decides what runs.
struct Scheduler {
    /// What the scheduler may use.
    struct Limits {
        /// Sequences that may run at once.
        var running: Int
        /// Sequences that may wait.
        var waiting = Int.max
        /// Prompt tokens in a pass.
        var prefillTokens: Int
        /// Pages of the KV cache.
        var pages: Int
        /// Positions in a page.
        var pageSize: Int
        /// Who joins next.
        var policy = SchedulePolicy.firstComeFirstServed
        /// Whether full pages are kept and shared.
        var reusesPrefixes = true
        /// Whether keys and values of generated tokens are those of equal tokens in a prompt. Otherwise pages that hold any
        /// are never shared, and no run of tokens crosses the end of its prompt.
        var sharesOutput = true
        /// By how much the priority of who waits must exceed that of who runs, to take its place.
        var preemptionThreshold = 10
        /// What a pass costs beside its tokens, in tokens.
        var passCost = 16
    }

    /// Tokens that whoever joins must leave room for, for each sequence that runs.
    static let foresight = 64
    /// How often the first in the queue lets others pass because more of their prompt is in the cache.
    static let patience = 32
    /// How many of the queue the policy compares.
    static let outlook = 128

    private let limits: Limits
    /// Requests that wait, first to last: by priority, then by arrival.
    private(set) var waiting: [Sequence] = []
    /// Requests in the batch, in the same order.
    private(set) var running: [Sequence] = []
    /// How often a running sequence had to go back to the queue.
    private(set) var preemptions = 0
    private var ledger: PageLedger
    private var freeSlots: [Int]
    /// Runs in the batch that begin behind their prompt: its first.
    private var outputs = 0

    /// A scheduler at rest.
    init(_ limits: Limits) {
        self.limits = limits
        ledger = PageLedger(
            pageCount: limits.pages, pageSize: limits.pageSize, reusesPrefixes: limits.reusesPrefixes,
            sharesOutput: limits.sharesOutput)
        freeSlots = Array((0..<limits.running).reversed())
    }

    /// Whether nothing runs or waits.
    var isIdle: Bool { running.isEmpty && waiting.isEmpty }

    /// Pages that running sequences use.
    var usedPages: Int { ledger.used }

    // MARK: Coming and going

    /// Queues a sequence, and lets those join who may: who finds a place at once does not wait.
    ///
    /// - Returns: who had to go because too many would wait: of those without output the last, so the newcomer itself
    ///   unless its priority is higher.
    mutating func add(_ sequence: Sequence) -> Sequence? {
        Self.insert(sequence, into: &waiting)
        admit()
        guard waiting.count > limits.waiting, waiting.contains(where: { $0 === sequence }) else { return nil }
        guard let index = waiting.lastIndex(where: { $0.tokens.count == $0.promptCount }) else { return nil }
        return waiting.remove(at: index)
    }

    /// Takes a sequence out, wherever it is; its full pages stay in the tree if they may be shared.
    mutating func remove(_ sequence: Sequence) {
        if let index = running.firstIndex(where: { $0 === sequence }) {
            running.remove(at: index)
            ledger.release(sequence)
            freeSlots.append(sequence.slot)
        } else {
            waiting.removeAll { $0 === sequence }
        }
    }

    /// Lets those join who may.
    mutating func admit() {
        while !waiting.isEmpty {
            let index = running.count < limits.running ? nextToJoin : 0
            let sequence = waiting[index]
            if hasRoom(for: sequence) {
                waiting.remove(at: index)
                if index > 0 { waiting[0].passedOver += 1 }
                sequence.slot = freeSlots.removeLast()
                sequence.tokens.reserveCapacity(sequence.lengthLimit)
                Self.insert(sequence, into: &running)
                ledger.reuse(sequence)
            } else if let last = running.last, last.priority <= sequence.priority - limits.preemptionThreshold {
                preempt(last)
            } else {
                return
            }
        }
    }

    /// Empties the prefix tree.
    ///
    /// - Returns: false, and nothing happens, while anything runs or waits.
    mutating func flush() -> Bool {
        guard isIdle else { return false }
        ledger.flush()
        return true
    }

    /// Checks that every page and every place is exactly where it should be.
    func checkIntegrity() {
        ledger.checkIntegrity(running)
        precondition(waiting.allSatisfy { $0.pages.isEmpty }, "a sequence that waits has pages")
        let slots = freeSlots + running.map(\.slot)
        precondition(slots.count == limits.running && Set(slots).count == slots.count, "a place is lost or shared")
        for queue in [waiting, running] {
            precondition(zip(queue, queue.dropFirst()).allSatisfy { $0.precedes($1) }, "a queue is out of order")
        }
    }

    /// The place in the queue of who joins next: the first, or of its priority the one with the longest prefix in the
    /// tree. Patience ends, so that a flood of similar prompts does not keep another one waiting for ever.
    private var nextToJoin: Int {
        guard limits.policy == .longestPrefixMatch, waiting[0].passedOver < Self.patience else { return 0 }
        var best = (index: 0, pages: -1)
        for (index, sequence) in waiting.prefix(Self.outlook).enumerated() {
            guard sequence.priority == waiting[0].priority else { break }
            let pages = ledger.prefix(of: sequence).pages
            if pages > best.pages { best = (index, pages) }
        }
        return best.index
    }

    /// Whether there is a place, and pages for what all know and will know soon. Who is alone always fits.
    private func hasRoom(for sequence: Sequence) -> Bool {
        guard running.count < limits.running else { return false }
        guard !running.isEmpty else { return true }
        func pagesSoon(_ sequence: Sequence) -> Int {
            ledger.pages(for: min(sequence.lengthLimit, sequence.tokens.count + Self.foresight))
        }
        let promised = running.reduce(0) { $0 + max(0, pagesSoon($1) - $1.pages.count) }
        return pagesSoon(sequence) - ledger.prefix(of: sequence).used + promised <= ledger.available
    }

    private mutating func preempt(_ sequence: Sequence) {
        remove(sequence)
        Self.insert(sequence, into: &waiting)
        preemptions += 1
    }

    private static func insert(_ sequence: Sequence, into queue: inout [Sequence]) {
        queue.insert(sequence, at: queue.lastIndex { $0.precedes(sequence) }.map { $0 + 1 } ?? 0)
    }

    // MARK: Passes

    /// Lets those join who may, chooses the tokens of the next pass into `batch`, and leases their pages.
    mutating func next(into batch: inout Batch) {
        batch.entries.removeAll(keepingCapacity: true)
        outputs = 0
        admit()
        var index = 0
        while index < running.count {
            let sequence = running[index]
            if sequence.decodes, leaseOrPreempt(index) { choose(index, upTo: sequence.tokens.count, for: &batch) }
            index += 1
        }
        choosePrompts(for: &batch)
    }

    /// Notes that the tokens of `batch` are computed.
    func complete(_ batch: Batch) {
        for entry in batch.entries {
            let sequence = running[entry.sequence]
            sequence.computed = entry.end
            sequence.reached = max(sequence.reached, entry.end)
        }
    }

    /// Finds a page for a sequence that decodes, if need be at the expense of the last; false when that is itself.
    private mutating func leaseOrPreempt(_ index: Int) -> Bool {
        let sequence = running[index]
        ledger.share(sequence, upTo: sequence.computed)
        while ledger.lease(sequence, upTo: sequence.tokens.count) < sequence.tokens.count {
            // Those after this one are not in the batch yet.
            preempt(running[running.count - 1])
            if running.count == index { return false }
        }
        return true
    }

    private mutating func choosePrompts(for batch: inout Batch) {
        guard let first = running.firstIndex(where: { !$0.decodes }) else { return }
        var others = running.indices.filter { $0 > first && !running[$0].decodes }
        for index in others { ledger.reuse(running[index]) }
        ledger.reuse(running[first])
        let asked = others.reduce(0) { $0 + running[$1].remaining }
        let (remaining, most) = (running[first].remaining, limits.prefillTokens)
        var budget = most
        if remaining <= most {
            // Whose prompt ends decodes in the passes after it.
            let share = Self.promptTokens(
                queued: remaining + asked, decoding: batch.entries.count + others.count, passCost: limits.passCost)
            budget = min(most, remaining <= share ? share : remaining + share)
            budget -= choosePrompt(first, count: remaining, for: &batch)
        } else {
            budget -= choosePrompt(first, count: max((most + 1) / 2, most - asked), for: &batch)
        }
        while batch.entries.isEmpty, running.count > first + 1 {
            // No page is left, and nobody decodes who could free one.
            preempt(running[running.count - 1])
            budget -= choosePrompt(first, count: budget, for: &batch)
        }
        others.removeAll { $0 >= running.count }
        for index in others { ledger.reuse(running[index]) }
        others.sort { left, right in
            let (a, b) = (running[left], running[right])
            return (-a.priority, a.remaining, a.number) < (-b.priority, b.remaining, b.number)
        }
        for index in others where budget > 0 { budget -= choosePrompt(index, count: budget, for: &batch) }
    }

    /// The prompt tokens in a pass, if `queued` in all wait for one beside `decoding` tokens, that keep prompts waiting least.
    ///
    /// Passes of p prompt tokens cost p + c each, where c is for the pass itself and for twice what decodes, each of which has
    /// logits; so n prompt tokens are done after (n / p + 1) (p + c) / 2 on average, which is least for p = √(n c).
    static func promptTokens(queued: Int, decoding: Int, passCost: Int) -> Int {
        Int((Double(queued) * Double(2 * decoding + passCost)).squareRoot())
    }

    /// Chooses at most `count` tokens of a prompt, as far as there are pages; returns how many.
    private mutating func choosePrompt(_ index: Int, count: Int, for batch: inout Batch) -> Int {
        let sequence = running[index]
        ledger.reuse(sequence)
        let start = sequence.computed
        let border = limits.sharesOutput || start >= sequence.promptCount ? sequence.tokens.count : sequence.promptCount
        var end = ledger.lease(sequence, upTo: min(border, start + count))
        // Whole pages can be shared at once.
        let whole = end / limits.pageSize * limits.pageSize
        if end < border, whole > start { end = whole }
        guard end > start else { return 0 }
        choose(index, upTo: end, for: &batch)
        return end - start
    }

    private mutating func choose(_ index: Int, upTo end: Int, for batch: inout Batch) {
        let sequence = running[index]
        let start = sequence.computed
        let entry = Batch.Entry(
            sequence: index, start: start, count: end - start,
            firstLogit: min(end, max(start, sequence.firstLogit, sequence.reached)), isDecode: sequence.decodes)
        if start < sequence.promptCount {
            batch.entries.append(entry)
        } else {
            batch.entries.insert(entry, at: outputs)
            outputs += 1
        }
        ledger.share(sequence, upTo: end)
    }
}
