// GenerateReport: the outcome of `generate` as JSON and as one line.

import Foundation
import Server

extension TextOutput {
    /// Text, ids, meta information as in sglang's reply, and timings in seconds.
    var report: JSONValue {
        .object([
            "text": .string(text),
            "output_ids": .array(outputIDs.map { .int(Int($0)) }),
            "meta_info": .object([
                "id": .string(id),
                "finish_reason": finishReason,
                "prompt_tokens": .int(promptIDs.count),
                "completion_tokens": .int(outputIDs.count),
                "cached_tokens": .int(cachedTokens),
                "e2e_latency": .double(elapsed.inSeconds),
            ]),
            "timings": .object([
                "time_to_first_token": timeToFirstToken.map { .double($0.inSeconds) } ?? .null,
                "prompt_tokens_per_second": promptRate.map { .double($0) } ?? .null,
                "output_tokens_per_second": outputRate.map { .double($0) } ?? .null,
            ]),
        ])
    }

    /// Such as `5 prompt tokens, 32 new tokens, first after 0.02 s, then 180 tokens/s`.
    var summary: String {
        func digits(_ value: Double) -> String { String(format: "%.3g", value) }
        let first = timeToFirstToken.map { ", first after \(digits($0.inSeconds)) s" } ?? ""
        let rate = outputRate.map { ", then \(digits($0)) tokens/s" } ?? ""
        return "\(promptIDs.count) prompt tokens, \(outputIDs.count) new tokens\(first)\(rate)"
    }

    /// Prompt tokens per second until the first new token.
    private var promptRate: Double? {
        timeToFirstToken.map { Double(promptIDs.count) / max($0.inSeconds, 1e-9) }
    }

    /// New tokens per second after the first; nil when there is no second.
    private var outputRate: Double? {
        guard let timeToFirstToken, outputIDs.count > 1 else { return nil }
        return Double(outputIDs.count - 1) / max((elapsed - timeToFirstToken).inSeconds, 1e-9)
    }

    private var finishReason: JSONValue {
        switch finish {
        case nil: .null
        case .stopToken(let id): .object(["type": .string("stop"), "matched": .int(Int(id))])
        case .stopText(let text): .object(["type": .string("stop"), "matched": .string(text)])
        case .length: .object(["type": .string("length"), "length": .int(outputIDs.count)])
        case .aborted(let message): .object(["type": .string("abort"), "message": .string(message)])
        }
    }
}

extension Duration {
    /// The duration in seconds.
    fileprivate var inSeconds: Double {
        Double(components.seconds) + Double(components.attoseconds) / 1e18
    }
}
