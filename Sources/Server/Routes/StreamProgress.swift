// StreamProgress: what of each cumulative output has been sent, so that events carry only what is new.

internal import Engine

/// What of each cumulative output has been sent.
struct StreamProgress: Sendable {
    /// What an update adds.
    struct News {
        /// Whether this is the first of its choice.
        var isFirst: Bool
        var text: String
        var ids: ArraySlice<Int32>
        var logprobs: [PositionLogprobs]
        var isFinal: Bool

        /// Whether a chunk would say nothing.
        var isEmpty: Bool { text.isEmpty && logprobs.isEmpty && !isFinal }
    }

    private struct Sent {
        var hasBegun = false
        var textBytes = 0
        var ids = 0
        var logprobs = 0
    }

    private var sent: [Sent]
    private var latest: [TextOutput?]
    private let samples: Int
    private let reportsCache: Bool

    /// - Parameters:
    ///   - count: choices in all.
    ///   - samples: choices per prompt.
    ///   - reportsCache: whether tokens found in the cache are told.
    init(count: Int, samples: Int, reportsCache: Bool) {
        sent = Array(repeating: Sent(), count: count)
        latest = Array(repeating: nil, count: count)
        self.samples = samples
        self.reportsCache = reportsCache
    }

    /// What `update` adds to what was taken before.
    mutating func take(_ update: IndexedOutput) -> News {
        let (index, output) = (update.index, update.output)
        latest[index] = output
        let news = News(
            isFirst: !sent[index].hasBegun, text: output.text.suffix(afterUTF8: sent[index].textBytes),
            ids: output.outputIDs.dropFirst(sent[index].ids),
            logprobs: Array(output.outputLogprobs.dropFirst(sent[index].logprobs)), isFinal: output.finish != nil)
        sent[index] = Sent(
            hasBegun: true, textBytes: output.text.utf8.count, ids: output.outputIDs.count,
            logprobs: output.outputLogprobs.count)
        return news
    }

    /// The newest output of the first choice.
    var first: TextOutput? { latest.first ?? nil }

    /// Tokens of one choice so far.
    func usage(of output: TextOutput) -> Usage { Usage([output], samples: 1, reportsCache: reportsCache) }

    /// Tokens of all choices so far.
    var usage: Usage { usage(of: latest.compactMap { $0 }) }

    /// Tokens of `outputs`, which are all choices.
    func usage(of outputs: [TextOutput]) -> Usage { Usage(outputs, samples: samples, reportsCache: reportsCache) }
}
