import Compute
import Experts
import Support
import Testing

@testable import Engine

@Suite struct SchedulerTests {
    private func limits(
        running: Int = 8, waiting: Int = .max, prefill: Int = 64, pages: Int = 100,
        policy: SchedulePolicy = .firstComeFirstServed,
        reuses: Bool = true, sharesOutput: Bool = true, threshold: Int = 10
    ) -> Scheduler.Limits {
        Scheduler.Limits(
            running: running, waiting: waiting, prefillTokens: prefill, pages: pages, pageSize: 4, policy: policy,
            reusesPrefixes: reuses, sharesOutput: sharesOutput, preemptionThreshold: threshold)
    }

    /// A prompt that shares no page with one of another seed.
    private func prompt(_ count: Int, seed: Int32) -> [Int32] { (0..<Int32(count)).map { seed * 1000 + $0 } }

    private func entry(_ sequence: Int, _ start: Int, _ count: Int, logits: Int, decode: Bool = false) -> Batch.Entry {
        Batch.Entry(sequence: sequence, start: start, count: count, firstLogit: logits, isDecode: decode)
    }

    @Test("those that decode come first; the first prompt gets half of the rest, the shortest the other half")
    func order() {
        var world = World(limits(prefill: 16))
        world.add(prompt(40, seed: 1), output: 4)
        world.add(prompt(1, seed: 2), output: 4)
        world.step()
        world.add(prompt(30, seed: 3), output: 4)
        world.add(prompt(5, seed: 4), output: 4)
        world.step()
        #expect(
            world.batch.entries == [
                entry(1, 1, 1, logits: 1, decode: true), entry(0, 12, 8, logits: 20), entry(3, 0, 5, logits: 4),
                entry(2, 0, 3, logits: 3),
            ])
        #expect(world.batch.tokens == 17)
        #expect(world.batch.mode == .mixed)
    }

    @Test("prompts that come together have their first tokens one after the other, not all at the end")
    func firstTokens() {
        var world = World(limits(running: 8, prefill: 512, pages: 1000))
        for seed in 1...8 { world.add(prompt(32, seed: Int32(seed)), output: 8) }
        // √(256 · 30) of them, then √(169 · 30).
        world.step()
        #expect(world.batch.entries.map(\.count) == [32, 32, 20, 3])
        world.step()
        #expect(world.batch.entries.map(\.count) == [1, 1, 12, 29, 28, 2])
    }

    @Test("by the model of a pass's cost, no other number of prompt tokens keeps prompts waiting much less")
    func promptTokens() {
        for (queued, decoding, pass) in [(40, 0, 16), (256, 7, 43), (3200, 0, 4), (8192, 127, 16), (100_000, 30, 120)] {
            let cost = Double(pass + 2 * decoding)
            func wait(_ tokens: Int) -> Double { (Double(queued) / Double(tokens) + 1) * (Double(tokens) + cost) / 2 }
            let chosen = wait(Scheduler.promptTokens(queued: queued, decoding: decoding, passCost: pass))
            #expect((1...queued).allSatisfy { chosen <= 1.001 * wait($0) })
        }
    }

    @Test("the more weights lie idle while a token is computed, the more prompts share a pass")
    func passCost() {
        func cost(_ bytes: Int, _ active: Int, _ precision: WeightPrecision = .stored) -> Int {
            Engine.passCost(bytes: bytes, activeParameters: active, precision: precision)
        }
        #expect(cost(36_000_000, 8_400_000) == 15)
        #expect(cost(61_000_000_000, 3_300_000_000, .bfloat16) == 120)
        #expect(cost(20_000_000_000, 3_300_000_000, .int5) == 39)
        #expect(cost(0, 0) == 0)
    }

    @Test("what nobody else asks for, the first prompt gets")
    func wholeBudget() {
        var world = World(limits(prefill: 16))
        world.add(prompt(40, seed: 1), output: 1)
        world.step()
        #expect(world.batch.entries == [entry(0, 0, 16, logits: 16)])
        world.add(prompt(3, seed: 2), output: 1)
        world.step()
        #expect(world.batch.entries == [entry(0, 16, 12, logits: 28), entry(1, 0, 3, logits: 2)])
    }

    @Test("a prompt of one token is prompt, not decode")
    func singleToken() {
        var world = World(limits())
        world.add([7], output: 2)
        world.step()
        #expect(world.batch.mode == .extend)
        world.step()
        #expect(world.batch.mode == .decode)
    }

    @Test("pages are leased as a sequence grows")
    func growth() {
        var world = World(limits())
        world.add(prompt(5, seed: 1), output: 12)
        var used: [Int] = []
        for _ in 0..<6 {
            world.step()
            used.append(world.scheduler.usedPages)
        }
        #expect(used == [2, 2, 2, 2, 3, 3])
    }

    @Test("a shared prompt is computed once, even when all who bring it come at once")
    func sharing() {
        var world = World(limits(prefill: 256))
        let system = prompt(40, seed: 1)
        for seed in 2..<6 { world.add(system + prompt(3, seed: Int32(seed)), output: 3) }
        world.step()
        #expect(world.batch.entries.map(\.start) == [0, 40, 40, 40])
        #expect(world.batch.tokens == 43 + 3 * 3)
        #expect(world.sequences.map(\.cachedTokens) == [0, 40, 40, 40])
        world.finish()
        // Whole pages only, and the last token is computed for its logits.
        world.add(Array(system.prefix(40)), output: 1)
        world.step()
        #expect(world.batch.entries == [entry(0, 36, 4, logits: 39)])
    }

    @Test("a conversation goes on where it ended")
    func outputIsKept() {
        var world = World(limits())
        let first = world.add(prompt(10, seed: 1), output: 9)
        world.finish()
        world.add(first.tokens + [5, 6], output: 1)
        world.step()
        // The last of 19 tokens was never fed.
        #expect(world.batch.entries == [entry(0, 16, 5, logits: 20)])
    }

    @Test("where output is computed in another way, only what was a prompt is found again")
    func outputIsNotShared() {
        var world = World(limits(sharesOutput: false))
        let first = world.add(prompt(10, seed: 1), output: 9)
        world.finish()
        world.add(first.tokens + [5, 6], output: 1)
        world.step()
        #expect(world.batch.entries == [entry(0, 8, 13, logits: 20)])
    }

    @Test("where output is computed in another way, a run ends with the prompt")
    func runsOfOneKind() {
        var world = World(limits(running: 2, prefill: 64, sharesOutput: false, threshold: 1))
        world.add(prompt(10, seed: 1), output: 40)
        let low = world.add(prompt(10, seed: 2), output: 40, priority: -1)
        for _ in 0..<10 { world.step() }
        world.add(prompt(4, seed: 3), output: 1, priority: 1)
        world.step()
        #expect(low.pages.isEmpty && low.tokens.count == 19)
        // Two pages of the prompt were kept; the rest of it comes first, then all output at once.
        world.step()
        #expect(world.batch.entries == [entry(0, 20, 1, logits: 20, decode: true), entry(1, 8, 2, logits: 10)])
        world.step()
        #expect(world.batch.entries == [entry(0, 21, 1, logits: 21, decode: true), entry(1, 10, 9, logits: 18)])
        world.finish()
        #expect(low.tokens.count == 50)
    }

    @Test("what is asked of the prompt's positions is computed, not taken from the cache")
    func wantedPositions() {
        var world = World(limits())
        world.add(prompt(40, seed: 1), output: 1)
        world.finish()
        world.add(prompt(40, seed: 1), output: 1, logprobs: 0)
        world.step()
        #expect(world.batch.entries == [entry(0, 0, 40, logits: 0)])
        world.finish()
        world.add(prompt(40, seed: 1), output: 1, logprobs: 22)
        world.step()
        #expect(world.batch.entries == [entry(0, 20, 20, logits: 21)])
        world.finish()
        world.add(prompt(40, seed: 1), output: 1, experts: 9)
        world.step()
        #expect(world.batch.entries == [entry(0, 8, 32, logits: 39)])
        #expect(world.sequences.map(\.cachedTokens) == [0, 0, 20, 8])
    }

    @Test("without the tree every prompt is computed, and every page is free again")
    func disabled() {
        var world = World(limits(reuses: false))
        for _ in 0..<2 {
            world.add(prompt(40, seed: 1), output: 5)
            world.finish()
        }
        #expect(world.computed == 2 * 44)
        #expect(world.scheduler.usedPages == 0)
    }

    @Test("when pages run out, the youngest waits, and goes on without a token lost", arguments: [false, true])
    func preemption(reuses: Bool) {
        // 60 pages of four, and three who will need 55 each.
        var world = World(limits(pages: 60, reuses: reuses))
        let old = world.add(prompt(20, seed: 1), output: 200)
        let young = world.add(prompt(20, seed: 2), output: 200)
        while world.scheduler.preemptions == 0 { world.step() }
        #expect(old.computed + young.reached >= 60 * 4 - 8)
        #expect(world.scheduler.waiting.map(\.number) == [young.number])
        #expect(young.pages.isEmpty && young.tokens.count == young.reached + 1)
        // Who comes later stands behind.
        let late = world.add(prompt(20, seed: 3), output: 200)
        while late.tokens.count == 20 { world.step() }
        #expect(old.tokens.count == 220 && young.reached > 100)
        world.finish()
        #expect(old.cachedTokens == 0 && young.cachedTokens == 0)
        let lengths = world.sequences.map(\.tokens.count)
        #expect(lengths == [220, 220, 220])
    }

    @Test("what is still in the tree need not be computed again")
    func resumption() {
        var world = World(limits(running: 2, pages: 60, threshold: 1))
        let low = world.add(prompt(80, seed: 1), output: 20)
        world.add(prompt(20, seed: 2), output: 20)
        for _ in 0..<4 { world.step() }
        world.add(prompt(8, seed: 3), output: 2, priority: 1)
        world.step()
        #expect(world.scheduler.waiting.map(\.number) == [2])
        world.finish()
        #expect(low.tokens.count == 100)
        // Of the 23 that the second had computed, three were not in a full page.
        #expect(world.computed == (99 + 39 + 9) + 3)
    }

    @Test("a request joins when there are pages for what all will know soon")
    func admission() {
        var world = World(limits(pages: 60))
        for seed in 1...3 { world.add(prompt(20, seed: Int32(seed)), output: 200) }
        world.scheduler.admit()
        // Each needs 21 pages for 20 + 64 tokens.
        #expect(world.scheduler.running.count == 2)
        #expect(world.scheduler.waiting.count == 1)
    }

    @Test("a flood of long prompts holds up neither those who decode nor a short one")
    func flood() {
        var world = World(limits(running: 64, prefill: 64, pages: 4000))
        let decoding = world.add(prompt(4, seed: 1), output: 40)
        world.step()
        for seed in 2..<40 { world.add(prompt(300, seed: Int32(seed)), output: 2) }
        world.step()
        let short = world.add(prompt(20, seed: 99), output: 2)
        world.step()
        #expect(short.tokens.count == 21)
        for _ in 0..<20 { world.step() }
        #expect(decoding.tokens.count == 4 + 23)
        // The first of the flood gets half of every pass.
        #expect(world.sequences[1].tokens.count >= 301)
        world.finish()
        #expect(world.sequences.allSatisfy { $0.tokens.count == $0.lengthLimit })
    }

    @Test("a flood of short prompts does not hold up a long one")
    func shortFlood() {
        var world = World(limits(running: 64, prefill: 64, pages: 4000))
        let long = world.add(prompt(320, seed: 1), output: 1)
        var steps = 0
        while long.tokens.count == 320 {
            for seed in 0..<8 { world.add(prompt(8, seed: Int32(100 + steps * 8 + seed)), output: 1) }
            world.step()
            steps += 1
        }
        // Eight halves of a pass, and what is left fits the ninth.
        #expect(steps == 9)
    }

    @Test("lpm prefers what the tree knows, but its patience ends")
    func longestPrefixMatch() {
        var world = World(limits(running: 1, policy: .longestPrefixMatch))
        let known = prompt(40, seed: 1)
        world.add(known, output: 1)
        world.finish()
        world.add(prompt(8, seed: 2), output: 3)
        world.step()
        let stranger = world.add(prompt(20, seed: 3), output: 1)
        for seed in 0..<50 { world.add(known + [Int32(seed)], output: 1) }
        var passed = 0
        while stranger.tokens.count == 20 {
            world.step()
            passed = world.sequences.dropFirst(3).count { $0.tokens.count == $0.lengthLimit }
        }
        #expect(passed == Scheduler.patience)
    }

    @Test("a higher priority goes first, and takes a place when it is enough higher")
    func priorities() {
        var world = World(limits(running: 2))
        world.add(prompt(8, seed: 1), output: 30)
        let low = world.add(prompt(8, seed: 2), output: 30, priority: -5)
        world.step()
        let high = world.add(prompt(8, seed: 3), output: 2, priority: 4)
        let higher = world.add(prompt(8, seed: 4), output: 2, priority: 5)
        world.step()
        #expect(world.scheduler.running.map(\.number) == [higher.number, 1])
        #expect(world.scheduler.waiting.map(\.number) == [high.number, low.number])
        #expect(world.scheduler.preemptions == 1)
        world.finish()
        #expect(low.tokens.count == 38)
    }

    @Test("in a full queue a higher priority takes the place of the lowest, of those the one that came last")
    func fullQueue() {
        var world = World(limits(running: 1, waiting: 3))
        world.add(prompt(8, seed: 1), output: 9)
        for priority in [2, 1, 1] { world.add(prompt(8, seed: 2), output: 1, priority: priority) }
        func waiting() -> [Int] { world.scheduler.waiting.map(\.number) }
        #expect(waiting() == [2, 3, 4])
        // Neither a lower nor the same priority displaces anybody.
        for priority in [0, 1] { world.add(prompt(8, seed: 3), output: 1, priority: priority) }
        #expect(waiting() == [2, 3, 4] && world.cancelled == [5, 6])
        world.add(prompt(8, seed: 4), output: 1, priority: 2)
        #expect(waiting() == [2, 7, 3] && world.cancelled == [4, 5, 6])
        world.add(prompt(8, seed: 5), output: 1, priority: 3)
        #expect(waiting() == [8, 2, 7] && world.cancelled == [3, 4, 5, 6])
        world.finish()
        let complete = world.sequences.filter { $0.tokens.count == $0.lengthLimit }
        #expect(complete.map(\.number) == [1, 2, 7, 8])
    }

    @Test("who has output keeps its place, however full the queue and low its priority")
    func begunIsKept() {
        var world = World(limits(running: 1, waiting: 1, threshold: 1))
        let begun = world.add(prompt(8, seed: 1), output: 9)
        world.step()
        world.add(prompt(8, seed: 2), output: 9, priority: 1)
        #expect(world.scheduler.waiting.map(\.number) == [begun.number])
        // A newcomer of a higher priority than it has is the only one without output.
        let late = world.add(prompt(8, seed: 3), output: 1, priority: 1)
        #expect(world.scheduler.waiting.map(\.number) == [begun.number] && world.cancelled == [late.number])
        // One that takes the place of whoever runs makes the queue longer than its limit: nobody is lost.
        world.step()
        world.add(prompt(8, seed: 4), output: 1, priority: 2)
        #expect(world.scheduler.waiting.map(\.number) == [2, begun.number])
        world.finish()
        let complete = world.sequences.filter { $0.tokens.count == $0.lengthLimit }
        #expect(complete.map(\.number) == [1, 2, 4])
    }

    @Test("priorities do not age: a low one waits as long as higher ones come, then it runs")
    func lowPriority() {
        var world = World(limits(running: 1))
        world.add(prompt(8, seed: 1), output: 1)
        let low = world.add(prompt(8, seed: 2), output: 1, priority: -1)
        for seed in 3..<200 {
            world.add(prompt(8, seed: Int32(seed)), output: 1)
            world.step()
        }
        #expect(low.tokens.count == 8)
        world.finish()
        #expect(low.tokens.count == 9)
    }

    @Test("the tree is emptied only at rest")
    func flush() {
        var world = World(limits())
        world.add(prompt(20, seed: 1), output: 3)
        world.step()
        let early = world.scheduler.flush()
        #expect(!early)
        world.finish()
        let late = world.scheduler.flush()
        #expect(late)
        world.scheduler.checkIntegrity()
        world.add(prompt(20, seed: 1), output: 1)
        world.step()
        #expect(world.batch.tokens == 20)
    }

    @Test(
        "any storm: no page lost or shared wrongly, every token computed before it is read, every answer given once",
        arguments: [(5, false, SchedulePolicy.firstComeFirstServed), (24, true, .firstComeFirstServed)]
            + [(24, false, .longestPrefixMatch), (24, true, .longestPrefixMatch), (200, true, .firstComeFirstServed)],
        [true, false])
    func storm(conditions: (pages: Int, reuses: Bool, policy: SchedulePolicy), sharesOutput: Bool) {
        let (pages, reuses, policy) = conditions
        var random = SeededGenerator(seed: UInt64(pages))
        var (preemptions, cached) = (0, 0)
        for round in 0..<12 {
            var world = World(
                limits(
                    running: .random(in: 1...6, using: &random), waiting: .random(in: 2...20, using: &random),
                    prefill: .random(in: 1...40, using: &random),
                    pages: pages, policy: policy, reuses: reuses, sharesOutput: sharesOutput,
                    threshold: .random(in: 1...3, using: &random)))
            for _ in 0..<60 {
                if Int.random(in: 0..<3, using: &random) == 0 {
                    let capacity = pages * 4
                    let count = Int.random(in: 1..<capacity, using: &random)
                    // Few different tokens, so that prompts begin alike, or fill equal pages by chance.
                    let ids = (0..<count).map { _ in Int32(Int.random(in: 0..<8, using: &random) / 7) }
                    let output = Int.random(in: 0...min(30, capacity - count), using: &random)
                    let asks = Int.random(in: 0..<4, using: &random) == 0
                    world.add(
                        ids, output: output, logprobs: asks ? .random(in: 0...count, using: &random) : nil,
                        experts: asks ? .random(in: 0...count, using: &random) : nil,
                        priority: .random(in: 0...4, using: &random))
                }
                if Int.random(in: 0..<10, using: &random) == 0 { world.cancel(using: &random) }
                world.step()
                world.scheduler.checkIntegrity()
            }
            world.finish()
            #expect(world.scheduler.isIdle && world.scheduler.usedPages == 0, "round \(round)")
            for sequence in world.sequences where !world.cancelled.contains(sequence.number) {
                #expect(sequence.tokens.count == sequence.lengthLimit)
            }
            preemptions += world.scheduler.preemptions
            cached += world.sequences.reduce(0) { $0 + $1.cachedTokens }
        }
        #expect(preemptions > 10)
        #expect((cached > 100) == reuses)
    }
}
