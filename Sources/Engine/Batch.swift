// Batch: the tokens of one pass, as the scheduler chose them.

internal import Experts

/// What one pass computes.
struct Batch: Equatable {
    /// A run of tokens of one sequence.
    struct Entry: Equatable {
        /// Index of the sequence among the running ones.
        var sequence: Int
        /// Position of the first token.
        var start: Int
        /// Tokens in the run.
        var count: Int
        /// First position whose logits are wanted; `end` when none are.
        var firstLogit: Int
        /// Whether the run is one generated token.
        var isDecode: Bool

        /// Position after the last token.
        var end: Int { start + count }
    }

    /// The runs: those that decode first, then others that begin behind their prompt, then prompts.
    var entries: [Entry] = []

    /// Tokens in all.
    var tokens: Int { entries.reduce(0) { $0 + $1.count } }

    /// What kind of pass this is: a run of one generated token decodes, everything else is prompt.
    var mode: ForwardMode {
        let decoding = entries.count { $0.isDecode }
        return decoding == 0 ? .extend : decoding == entries.count ? .decode : .mixed
    }
}
