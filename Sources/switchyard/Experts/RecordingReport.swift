// RecordingReport: what `experts show` says of a recording, as text and as JSON.

import Experts
import Measure

/// What a recording says.
struct RecordingReport: Encodable {
    /// One layer.
    struct Layer: Encodable {
        var layer: Int
        var pairs: Int64
        var hottest: Int
        var topShare: Double
        var entropy: Double
        var unusedShare: Double
        var balancedness: Double?

        enum CodingKeys: String, CodingKey {
            case layer, pairs, hottest, entropy, balancedness
            case topShare = "top_share"
            case unusedShare = "unused_share"
        }
    }

    /// One of the hottest experts.
    struct Expert: Encodable {
        var layer: Int
        var expert: Int
        var pairs: Int64
        var share: Double
    }

    /// Whether there is a hot set.
    struct Hot: Encodable {
        var verdict: String
        var size: Int
        var stability: Double?
        var summary: String
    }

    var file: String
    var recorder: String
    var model: String?
    var passes: Int
    var droppedPasses: Int
    var mode: String
    var experts: Int
    var slots: Int?
    var gpus: Int?
    var layers: [Layer]
    var hottest: [Expert]
    var balancedness: Double?
    var hotSet: Hot
    private var counts: [Int64]
    private var extent: String?

    enum CodingKeys: String, CodingKey {
        case file, recorder, model, passes, mode, experts, slots, gpus, layers, hottest, balancedness
        case droppedPasses = "dropped_passes"
        case hotSet = "hot_set"
    }

    /// - Parameters:
    ///   - recording: the file's content.
    ///   - file: its path.
    ///   - counts: pairs per expert in the passes that are asked for; `[L, E]`.
    ///   - hotSet: of them.
    ///   - mode: which passes those are.
    ///   - layer: the only layer to report; nil for all.
    ///   - top: hottest experts to list.
    init(
        _ recording: Recording, file: String, counts: [Int64], hotSet: HotSet, mode: ExpertsShow.Passes, layer: Int?,
        top: Int
    ) {
        let size = recording.logicalExperts
        let shown = layer.map { $0..<$0 + 1 } ?? 0..<recording.layers
        // On one GPU every load is even, and a file that does not say how many there were counts as one.
        let isSpread = (recording.placements.last?.ranks ?? 1) > 1
        let rates = isSpread ? recording.balancedness { mode.includes($0.mode) } : nil
        self.file = file
        recorder = recording.mode.rawValue
        model = recording.model
        extent = mode == .all ? recording.extent : nil
        passes = mode == .all ? recording.usedRows : recording.passes.count { mode.includes($0.mode) }
        droppedPasses = recording.dropped.passes
        self.mode = mode.rawValue
        experts = size
        slots = recording.physicalExperts
        gpus = isSpread ? recording.placements.last?.ranks : nil
        layers = LayerLoad.layers(counts, experts: size)[shown].map { load in
            Layer(
                layer: load.layer, pairs: counts[load.layer * size..<(load.layer + 1) * size].reduce(0, +),
                hottest: load.hottest, topShare: load.topShare,
                entropy: load.entropy, unusedShare: load.unusedShare, balancedness: rates?[load.layer])
        }
        hottest = HotExpert.hottest(
            Array(counts[shown.lowerBound * size..<shown.upperBound * size]), experts: size, limit: top
        ).map { Expert(layer: $0.layer + shown.lowerBound, expert: $0.expert, pairs: $0.pairs, share: $0.share) }
        let known = layers.compactMap(\.balancedness)
        balancedness = known.isEmpty ? nil : known.reduce(0, +) / Double(known.count)
        self.hotSet = Hot(
            verdict: hotSet.verdict.rawValue, size: hotSet.size, stability: hotSet.stability, summary: hotSet.summary)
        self.counts = Array(counts[shown.lowerBound * size..<shown.upperBound * size])
    }

    /// The report for people.
    ///
    /// - Parameter width: cells per row of the heat map.
    /// - Returns: lines, each ended by a newline.
    func text(width: Int) -> String {
        var text = facts + "\n\n"
        text += TerminalHeatMap(width: width).text(
            counts, experts: experts, labels: layers.map { "layer \($0.layer)" })
        let loaded = layers.filter { $0.pairs > 0 }
        text += "\n"
        if loaded.isEmpty { return text + "No tokens in these passes.\n" }
        var rows = [["", "mean", "least", "most"]]
        func add(_ name: String, _ values: [Double], _ form: (Double) -> String) {
            guard let least = values.min(), let most = values.max() else { return }
            rows.append([name, form(values.reduce(0, +) / Double(values.count)), form(least), form(most)])
        }
        add("entropy", loaded.map(\.entropy), ExpertsInput.rate)
        add("top share", loaded.map(\.topShare), ExpertsInput.percent)
        add("unused", loaded.map(\.unusedShare), ExpertsInput.percent)
        add("balancedness", layers.compactMap(\.balancedness), ExpertsInput.rate)
        text += table(rows) + "\n"
        if balancedness == nil {
            text += "balancedness  unknown: the file does not say which GPU served what; see --gpus\n"
        }
        if !hottest.isEmpty {
            let list = hottest.map { "layer \($0.layer) e\($0.expert) \(ExpertsInput.percent($0.share))" }
            text += "hottest: " + list.joined(separator: ", ") + "\n"
        }
        return text + hotSet.summary + "\n"
    }

    private var facts: String {
        var facts = [ExpertsInput.name(file), model, "mode \(recorder)"].compactMap { $0 }
        facts += [extent ?? "\(passes) \(mode) passes", "\(experts) experts"]
        if let slots { facts.append("\(slots) slots") }
        if let gpus { facts.append("\(gpus) GPUs") }
        if droppedPasses > 0 { facts.append("\(droppedPasses) passes dropped for want of room") }
        return facts.joined(separator: ", ")
    }
}
