// Sequence: what the scheduler knows of a request: its tokens, and how far and where they are computed. Integers only.
//
// Owner: the scheduler; the engine appends tokens. A class, so that the pass that reads it never copies its tokens.

/// The tokens of a request, and their pages.
final class Sequence {
    /// Order of arrival; distinguishes requests that reuse an id.
    let number: Int
    /// Larger goes first.
    let priority: Int
    /// Tokens of the prompt.
    let promptCount: Int
    /// How long `tokens` may become.
    let lengthLimit: Int
    /// First position whose logits are wanted; those of position p are for the token at p + 1.
    let firstLogit: Int
    /// First position that the sequence must compute itself, because its logits or experts are wanted: keys and values
    /// of what lies before may be another sequence's.
    let firstNeeded: Int
    /// The prompt and what was generated.
    var tokens: [Int32]

    /// Tokens whose keys and values are in `pages`.
    var computed = 0
    /// The most that `computed` has been: what lies before is recomputed only for its keys and values.
    var reached = 0
    /// Prompt tokens that were computed by another sequence.
    var cachedTokens = 0
    /// Entry i holds positions `16 i ..< 16 (i + 1)`.
    var pages: [Int32] = []
    /// How many of `pages` are in the tree, and so may be another sequence's too; they come first.
    var shared = 0
    /// Entries of `pages` from here on have changed since the runner saw them.
    var firstStalePage = 0
    /// Row of the page tables; valid while running.
    var slot = 0
    /// How often, as the first in the queue, it had to let another one pass.
    var passedOver = 0

    /// - Parameters:
    ///   - number: order of arrival.
    ///   - prompt: token ids, at least one.
    ///   - lengthLimit: how long prompt and output together may become.
    ///   - priority: larger goes first.
    ///   - promptLogprobsStart: first prompt position whose log-probability is wanted, if any is.
    ///   - expertsStart: first position whose experts are wanted, if any are.
    init(
        number: Int, prompt: [Int32], lengthLimit: Int, priority: Int = 0, promptLogprobsStart: Int? = nil,
        expertsStart: Int? = nil
    ) {
        self.number = number
        self.priority = priority
        self.lengthLimit = lengthLimit
        promptCount = prompt.count
        firstLogit = min(max(0, (promptLogprobsStart ?? prompt.count) - 1), prompt.count - 1)
        firstNeeded = min(firstLogit, expertsStart ?? firstLogit)
        tokens = prompt
    }

    /// Tokens that are known but not computed.
    var remaining: Int { tokens.count - computed }

    /// Whether only the token that was generated last is left to compute.
    var decodes: Bool { computed >= promptCount && remaining == 1 }

    /// Whether this one goes before `other`.
    func precedes(_ other: Sequence) -> Bool {
        priority == other.priority ? number < other.number : priority > other.priority
    }
}
