// Scheduler: which tokens go into the next pass, and who may join. Integers only.
//
// Policy: first come, first served. A request joins when a place is free and pages for its whole length are; so a
// running sequence never lacks memory. Every pass takes one token of each sequence that decodes, then prompt chunks in
// order of arrival until the pass is full: long prompts cannot hold up those who decode.

/// The rules of the batch.
struct Scheduler: Equatable {
    /// Sequences that may run at once.
    var maxRunning: Int
    /// Prompt tokens in a pass.
    var prefillBudget: Int

    /// What the rules need to know of a running sequence.
    struct Progress: Equatable {
        /// Tokens whose keys and values are in the cache.
        var computed: Int
        /// Tokens known: the prompt and what was generated.
        var known: Int
        /// Tokens of the prompt.
        var prompt: Int
    }

    /// Whether a request that needs `pages` pages may join `running` others.
    func admits(pages: Int, running: Int, freePages: Int) -> Bool { running < maxRunning && pages <= freePages }

    /// Chooses the next pass's tokens into `batch`.
    func next(_ running: some Collection<Progress>, into batch: inout Batch) {
        batch.entries.removeAll(keepingCapacity: true)
        for (index, progress) in running.enumerated() where progress.computed >= progress.prompt {
            batch.entries.append(
                .init(
                    sequence: index, start: progress.computed, count: progress.known - progress.computed, isLast: true,
                    isDecode: true))
        }
        var budget = prefillBudget
        for (index, progress) in running.enumerated() where progress.computed < progress.prompt && budget > 0 {
            let count = min(budget, progress.known - progress.computed)
            batch.entries.append(
                .init(
                    sequence: index, start: progress.computed, count: count,
                    isLast: progress.computed + count == progress.known, isDecode: false))
            budget -= count
        }
    }
}
