import Testing

@testable import Engine

/// A scheduler with a model that is a sum: the "keys and values" of a position are a hash of all tokens up to it. So a
/// page that is wrong, too old or not yet written is found out as soon as it is read. Where output is not shared, generated
/// tokens count differently.
struct World {
    var scheduler: Scheduler
    var batch = Batch()
    /// All that ever came, in order.
    private(set) var sequences: [Sequence] = []
    /// Those that were cancelled, or had to leave the queue.
    private(set) var cancelled: Set<Int> = []
    /// Tokens computed.
    private(set) var computed = 0
    private let limits: Scheduler.Limits
    private var memory: [Int]
    /// Per sequence, the next position whose logits are owed.
    private var owed: [Int: Int] = [:]

    init(_ limits: Scheduler.Limits) {
        self.limits = limits
        scheduler = Scheduler(limits)
        memory = Array(repeating: 0, count: limits.pages * limits.pageSize)
    }

    @discardableResult
    mutating func add(
        _ prompt: [Int32], output: Int, logprobs: Int? = nil, experts: Int? = nil, priority: Int = 0
    ) -> Sequence {
        let sequence = Sequence(
            number: sequences.count + 1, prompt: prompt, lengthLimit: prompt.count + output, priority: priority,
            promptLogprobsStart: logprobs, expertsStart: experts)
        sequences.append(sequence)
        owed[sequence.number] = sequence.firstLogit
        if let displaced = scheduler.add(sequence) { cancelled.insert(displaced.number) }
        return sequence
    }

    mutating func cancel(using random: inout some RandomNumberGenerator) {
        guard let sequence = (scheduler.running + scheduler.waiting).randomElement(using: &random) else { return }
        cancelled.insert(sequence.number)
        scheduler.remove(sequence)
    }

    /// Steps until nothing is left.
    mutating func finish() {
        var steps = 0
        while !scheduler.isIdle, steps < 10_000 {
            step()
            steps += 1
        }
        #expect(scheduler.isIdle, "no end after \(steps) steps")
        scheduler.checkIntegrity()
    }

    mutating func step() {
        let mustWork = !scheduler.isIdle
        scheduler.next(into: &batch)
        #expect(!batch.entries.isEmpty == mustWork)
        let prompts = batch.entries.filter { !$0.isDecode }
        #expect(prompts.reduce(0) { $0 + $1.count } <= limits.prefillTokens)
        #expect(Set(batch.entries.map(\.sequence)).count == batch.entries.count)
        let isPrompt = batch.entries.map { $0.start < scheduler.running[$0.sequence].promptCount }
        #expect(isPrompt.firstIndex(of: true).map { !isPrompt[$0...].contains(false) } ?? true)
        // All keys and values of a pass are written, once, before any is read.
        var written: Set<Int> = []
        for entry in batch.entries {
            let sequence = scheduler.running[entry.sequence]
            #expect(entry.start == sequence.computed && entry.count > 0 && entry.end <= sequence.tokens.count)
            let end = entry.start < sequence.promptCount ? sequence.promptCount : sequence.tokens.count
            #expect(limits.sharesOutput || entry.end <= end, "a run crosses the end of its prompt")
            var hash = 17
            for position in 0..<entry.end {
                hash = next(hash, sequence, position)
                guard position >= entry.start else { continue }
                memory[place(sequence, position)] = hash
                if !written.insert(place(sequence, position)).inserted {
                    Issue.record("two write position \(position) of \(sequence.number)")
                }
            }
            computed += entry.count
        }
        var done: [Sequence] = []
        for entry in batch.entries {
            let sequence = scheduler.running[entry.sequence]
            var hash = 17
            for position in 0..<entry.end {
                hash = next(hash, sequence, position)
                if memory[place(sequence, position)] != hash {
                    Issue.record("position \(position) of \(sequence.number) is wrong")
                }
            }
            if entry.firstLogit < entry.end {
                #expect(owed[sequence.number] == entry.firstLogit)
                owed[sequence.number] = entry.end
            }
            guard entry.end == sequence.tokens.count else { continue }
            #expect(owed[sequence.number] == entry.end, "no logits for the next token")
            if sequence.tokens.count < sequence.lengthLimit { sequence.tokens.append(Int32(hash & 1)) }
            if sequence.tokens.count == sequence.lengthLimit { done.append(sequence) }
        }
        scheduler.complete(batch)
        for sequence in done { scheduler.remove(sequence) }
    }

    private func place(_ sequence: Sequence, _ position: Int) -> Int {
        Int(sequence.pages[position / limits.pageSize]) * limits.pageSize + position % limits.pageSize
    }

    private func next(_ hash: Int, _ sequence: Sequence, _ position: Int) -> Int {
        let role = limits.sharesOutput || position < sequence.promptCount ? 7 : 5
        return (hash &* 31 &+ Int(sequence.tokens[position]) &+ role) & 0xFFFF_FFFF
    }
}
