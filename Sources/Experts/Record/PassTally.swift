// PassTally: how many passes, and how many tokens in them.

/// A number of passes and of the tokens in them.
public struct PassTally: Sendable, Equatable {
    /// Passes.
    public var passes: Int
    /// Real tokens in those passes.
    public var tokens: Int

    /// A tally.
    public init(passes: Int = 0, tokens: Int = 0) {
        self.passes = passes
        self.tokens = tokens
    }

    /// Counts one more pass.
    mutating func count(tokens: Int) {
        passes += 1
        self.tokens += tokens
    }

    static func + (first: PassTally, second: PassTally) -> PassTally {
        PassTally(passes: first.passes + second.passes, tokens: first.tokens + second.tokens)
    }
}
