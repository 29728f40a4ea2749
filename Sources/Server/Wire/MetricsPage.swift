// MetricsPage: Prometheus text. Names with `sglang:` are those that sglang's dashboards know; expert series are per layer,
// never per expert, so that their number stays small.

internal import Engine
internal import Experts

/// Prometheus text.
struct MetricsPage {
    private(set) var text = ""
    private let label: String

    /// A page about the model `name`.
    init(model name: String) {
        let escaped = name.flatMap { character -> String in
            switch character {
            case "\\": "\\\\"
            case "\"": "\\\""
            case "\n": "\\n"
            default: String(character)
            }
        }
        label = "model_name=\"\(String(escaped))\",engine_type=\"unified\""
    }

    /// The engine's state and counters.
    mutating func append(_ statistics: EngineStatistics, _ serving: ServingMetrics.Values) {
        gauge("sglang:num_running_reqs", "Requests in the batch.", Double(statistics.runningRequests))
        gauge("sglang:num_queue_reqs", "Requests that wait for a place.", Double(statistics.queuedRequests))
        gauge("sglang:num_used_tokens", "KV cache tokens in use.", Double(statistics.usedTokens))
        let capacity = Double(max(statistics.maxTotalTokens, 1))
        gauge("sglang:token_usage", "Share of the KV cache in use.", Double(statistics.usedTokens) / capacity)
        gauge("sglang:max_total_num_tokens", "KV cache capacity in tokens.", Double(statistics.maxTotalTokens))
        gauge("sglang:gen_throughput", "Generated tokens per second.", statistics.generationThroughput)
        let prompt = Double(statistics.promptTokensTotal)
        let cached = Double(statistics.cachedTokensTotal)
        gauge(
            "sglang:cache_hit_rate", "Share of prompt tokens found in a cache.",
            prompt + cached > 0 ? cached / (prompt + cached) : 0)
        counter("sglang:prompt_tokens_total", "Prompt tokens computed.", statistics.promptTokensTotal)
        counter("sglang:generation_tokens_total", "Tokens generated.", statistics.generatedTokensTotal)
        counter("sglang:cached_tokens_total", "Prompt tokens found in a cache.", statistics.cachedTokensTotal)
        counter("sglang:num_requests_total", "Requests accepted.", statistics.requestsTotal)
        counter(
            "sglang:num_aborted_requests_total", "Requests that did not end by themselves.", serving.abortedRequests)
        counter(
            "sglang:num_retracted_requests_total", "Times that a running request had to wait again for memory.",
            statistics.preemptionsTotal)
        counter("switchyard:forward_passes_total", "Forward passes.", statistics.passesTotal)
        histogram("sglang:time_to_first_token_seconds", "From submission to the first token.", serving.timeToFirstToken)
        histogram("sglang:inter_token_latency_seconds", "Between two tokens of a request.", serving.interTokenLatency)
        histogram("sglang:e2e_request_latency_seconds", "From submission to the end.", serving.requestLatency)
    }

    /// What the recorder knows. Balancedness as defined in docs/ExpertRecordings.md.
    mutating func append(_ status: RecordingStatus) {
        let snapshot = status.snapshot
        gauge("switchyard:expert_recording", "1 while the expert distribution is recorded.", status.isRecording ? 1 : 0)
        gauge("switchyard:expert_recorded_passes", "Passes since recording began.", Double(snapshot.recorded.passes))
        gauge("switchyard:expert_dropped_passes", "Passes beyond the byte budget.", Double(snapshot.dropped.passes))
        gauge("switchyard:expert_recording_cost", "Share of its passes' time that recording takes.", status.cost)
        head("sglang:eplb_balancedness", "summary", "Balancedness of the recorded passes.")
        for mode in ForwardMode.allCases {
            guard let total = snapshot.balancednessTotals[mode] else { continue }
            line("sglang:eplb_balancedness_sum", ",forward_mode=\"\(mode)\"", total.sum)
            line("sglang:eplb_balancedness_count", ",forward_mode=\"\(mode)\"", Double(total.passes))
        }
        guard snapshot.recorded.passes > 0 else { return }
        series(
            "switchyard:expert_balancedness", "Mean over largest rank load, last 100 passes.",
            snapshot.balancedness.layerMeans(last: 100).map(Double.init))
        let loads = LayerLoad.layers(snapshot.totals, experts: snapshot.logicalExperts)
        series("switchyard:expert_top1_share", "Share of the layer's busiest expert.", loads.map(\.topShare))
        series("switchyard:expert_entropy", "Entropy of the expert shares over its maximum.", loads.map(\.entropy))
        series("switchyard:experts_active", "Experts that received a token.", loads.map { Double($0.active) })
    }

    private mutating func gauge(_ name: String, _ help: String, _ value: Double) {
        head(name, "gauge", help)
        line(name, "", value)
    }

    private mutating func counter(_ name: String, _ help: String, _ value: Int) {
        head(name, "counter", help)
        line(name, "", Double(value))
    }

    private mutating func series(_ name: String, _ help: String, _ layers: [Double]) {
        head(name, "gauge", help)
        for (layer, value) in layers.enumerated() { line(name, ",layer=\"\(layer)\"", value) }
    }

    private mutating func histogram(_ name: String, _ help: String, _ histogram: MetricHistogram) {
        head(name, "histogram", help)
        var below = 0
        for (bound, count) in zip(histogram.bounds, histogram.counts) {
            below += count
            line(name + "_bucket", ",le=\"\(bound)\"", Double(below))
        }
        line(name + "_bucket", ",le=\"+Inf\"", Double(histogram.count))
        line(name + "_sum", "", histogram.sum)
        line(name + "_count", "", Double(histogram.count))
    }

    private mutating func head(_ name: String, _ type: String, _ help: String) {
        text += "# HELP \(name) \(help)\n# TYPE \(name) \(type)\n"
    }

    private mutating func line(_ name: String, _ labels: String, _ value: Double) {
        let number = value == value.rounded() && abs(value) < 1e15 ? String(Int64(value)) : String(value)
        text += "\(name){\(label)\(labels)} \(number)\n"
    }
}
