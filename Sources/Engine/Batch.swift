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
        /// Whether the run ends with the last known token, so that its logits choose the next one.
        var isLast: Bool
        /// Whether the run is one generated token.
        var isDecode: Bool
    }

    /// The runs: those that decode first, then prompts.
    var entries: [Entry] = []

    /// Tokens in all.
    var tokens: Int { entries.reduce(0) { $0 + $1.count } }

    /// What kind of pass this is: a run of one last token decodes, everything else is prompt.
    var mode: ForwardMode {
        let decoding = entries.count { $0.isDecode }
        return decoding == 0 ? .extend : decoding == entries.count ? .decode : .mixed
    }
}
