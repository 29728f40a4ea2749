// Engine+Step: one turn of the engine: choose tokens, compute, publish.

internal import Experts

extension Engine {
    /// One pass. Returns whether there was anything to do.
    func step() -> Bool {
        scheduler.next(into: &batch)
        guard !batch.entries.isEmpty else { return false }
        totals.passesTotal += 1
        // Taken out for the pass, so that it is not copied.
        if var recordings = recordings.take() {
            let wantsExperts = batch.entries.contains { generation(of: $0).request.routedExpertsStart != nil }
            let placement = recordings.placement
            recordings.record(
                pass: totals.passesTotal, batch, scheduler.running, name: { generations[$0.number]?.request.id ?? "" },
                wantsExperts: wantsExperts, compute: { compute(counts: $0, ids: $1) },
                visit: { keepExperts($0, placement) })
            self.recordings = recordings
        } else {
            compute(counts: nil, ids: nil)
        }
        for entry in batch.entries {
            let sequence = scheduler.running[entry.sequence]
            let new = max(entry.start, sequence.reached)
            totals.promptTokensTotal += max(0, min(sequence.promptCount, entry.end) - new)
        }
        scheduler.complete(batch)
        for (generation, reason) in finished { end(generation, reason) }
        finished.removeAll(keepingCapacity: true)
        return true
    }

    private func generation(of entry: Batch.Entry) -> Generation {
        guard let generation = generations[scheduler.running[entry.sequence].number] else {
            preconditionFailure("a sequence runs that nobody asked for")
        }
        return generation
    }

    private func compute(counts: UnsafeMutablePointer<Int32>?, ids: UnsafeMutablePointer<Int32>?) {
        var generated = 0
        let wantsLogprobs = batch.entries.contains { generation(of: $0).request.logprobs != nil }
        runner.run(
            batch, sequences: scheduler.running, wantsLogprobs: wantsLogprobs, counts: counts, ids: ids
        ) { row in
            let generation = generation(of: batch.entries[row.entry])
            let sequence = generation.sequence
            if row.position < sequence.promptCount - 1 {
                generation.promptLogprobs.append(
                    row.logprobs(
                        of: sequence.tokens[row.position + 1], generation.request.logprobs, model.vocabularySize))
            } else {
                generated += extend(generation, with: row)
            }
        }
        totals.generatedTokensTotal += generated
        throughput.add(generated)
    }

    /// Chooses the next token from the logits of the last one. Returns the tokens generated, 0 or 1.
    private func extend(_ generation: Generation, with row: ModelRunner.LogitRow) -> Int {
        let (request, sequence) = (generation.request, generation.sequence)
        if generation.generated == 0 {
            totals.cachedTokensTotal += sequence.cachedTokens
            generation.send(.prompt(cachedTokens: sequence.cachedTokens, logprobs: generation.takePromptLogprobs()))
        }
        guard sequence.tokens.count < sequence.lengthLimit else {
            finished.append((generation, .length))
            return 0
        }
        let suppressed = generation.generated < request.sampling.minNewTokens ? generation.suppressedIDs : []
        // Log-probabilities are the model's own, so they are read before the row is changed; which token they are for is
        // known after.
        var logprobs = request.logprobs.map { row.alternatives($0, model.vocabularySize) }
        let saved = request.logprobs == nil ? nil : sampler.keep(row.logits)
        let token = sampler.choose(
            row.logits, best: row.best, maximum: row.maximum, parameters: request.sampling, suppressed: suppressed,
            state: &generation.sampler)
        if let saved { logprobs?.token = TokenLogprob(id: token, logprob: saved[Int(token)] - row.logSumExp) }
        sequence.tokens.append(token)
        generation.send(.token(id: token, logprobs: logprobs))
        if generation.stopIDs.contains(token) {
            finished.append((generation, .stopToken(id: token)))
        } else if sequence.tokens.count >= sequence.lengthLimit {
            finished.append((generation, .length))
        }
        return 1
    }

    /// Adds the experts of the pass's tokens to the requests that asked for them; those that were recomputed are known.
    private func keepExperts(_ detail: PassDetail, _ placement: Placement) {
        var token = 0
        for entry in batch.entries {
            let generation = generation(of: entry)
            if let asked = generation.request.routedExpertsStart {
                let start = min(entry.end, max(asked, entry.start, generation.sequence.reached))
                for row in token + start - entry.start..<token + entry.count {
                    for layer in 0..<detail.layers {
                        let ids = detail.experts(layer: layer)
                        for column in row * detail.topK..<(row + 1) * detail.topK {
                            let expert = ids.map { placement.logical(layer: layer, slot: Int($0[column])) }
                            generation.routedExperts.append(Int32(truncatingIfNeeded: expert ?? 0))
                        }
                    }
                }
            }
            token += entry.count
        }
    }

    /// Takes a request out and ends its stream.
    func end(_ generation: Generation, _ reason: FinishReason) {
        scheduler.remove(generation.sequence)
        generations[generation.sequence.number] = nil
        if let experts = generation.allRoutedExperts(layers: model.layers, topK: model.topK) {
            generation.send(.routedExperts(experts))
        }
        generation.send(.finished(reason))
    }
}
