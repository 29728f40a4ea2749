// Logprobs: what a row of logits says of chosen tokens. All are log-softmax of the model's own logits.

extension ModelRunner.LogitRow {
    /// The log-probabilities at this row, for the token `id`.
    func logprobs(of id: Int32, _ options: LogprobOptions?, _ vocabularySize: Int) -> PositionLogprobs {
        var position = alternatives(options ?? LogprobOptions(), vocabularySize)
        position.token = self[id]
        return position
    }

    /// The alternatives at this row; the token itself is the row's best until it is known.
    func alternatives(_ options: LogprobOptions, _ vocabularySize: Int) -> PositionLogprobs {
        PositionLogprobs(
            token: self[best], top: top(options.topCount, vocabularySize), asked: options.tokenIDs.map { self[$0] })
    }

    private subscript(id: Int32) -> TokenLogprob { TokenLogprob(id: id, logprob: logits[Int(id)] - logSumExp) }

    /// The `count` most probable tokens, best first, ties by ascending id.
    private func top(_ count: Int, _ vocabularySize: Int) -> [TokenLogprob] {
        guard count > 0 else { return [] }
        var top: [(logit: Float, id: Int32)] = []
        top.reserveCapacity(count + 1)
        for id in 0..<vocabularySize {
            let logit = logits[id]
            if top.count == count, let last = top.last, !(logit > last.logit) { continue }
            let place = top.firstIndex { logit > $0.logit } ?? top.count
            top.insert((logit, Int32(truncatingIfNeeded: id)), at: place)
            if top.count > count { top.removeLast() }
        }
        return top.map { self[$0.id] }
    }
}
