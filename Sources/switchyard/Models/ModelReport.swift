// ModelReport: what `models check` says of a model, as text and as JSON.

import Compute
import Engine
import Foundation
import Models

/// What a model is, what it takes, and what is wrong with it.
struct ModelReport: Encodable {
    var folder: String
    var architecture: String?
    var layers: Int?
    var sparseLayers: Int?
    var experts: Int?
    var topK: Int?
    var parameters: Int?
    var activeParameters: Int?
    var fileBytes: Int?
    var weightBytes: Int?
    var kvBytesPerToken: Int?
    var otherBytes: Int?
    var contextLength: Int?
    var machineBytes: Int
    var tokensThatFit: Int?
    var fits: Bool?
    var problems: [String]

    enum CodingKeys: String, CodingKey {
        case folder, architecture, layers, experts, parameters, fits, problems
        case sparseLayers = "sparse_layers"
        case topK = "top_k"
        case activeParameters = "active_parameters"
        case fileBytes = "file_bytes"
        case weightBytes = "weight_bytes"
        case kvBytesPerToken = "kv_bytes_per_token"
        case otherBytes = "other_bytes"
        case contextLength = "context_length"
        case machineBytes = "machine_bytes"
        case tokensThatFit = "tokens_that_fit"
    }

    /// The findings of `check`, and all `problems`.
    init(_ check: ModelCheck, folder: String, problems: [String]) {
        self.folder = folder
        self.problems = problems
        machineBytes = check.machineBytes
        guard let model = check.configuration, let weights = check.weights else { return }
        architecture = model.architecture
        layers = model.layers
        sparseLayers = model.sparseLayers.count
        experts = model.experts
        topK = model.topK
        parameters = weights.parameters
        activeParameters = weights.activeParameters
        fileBytes = weights.storedBytes
        weightBytes = Self.whole(weights.loadedBytes)
        kvBytesPerToken = check.kvBytesPerToken
        otherBytes = Self.whole(check.otherBytes)
        contextLength = check.contextLength
        tokensThatFit = check.tokensThatFit
        fits = check.fits
    }

    /// Whether the model can be served on this machine.
    var isServable: Bool { problems.isEmpty && fits == true }

    private static func whole(_ bytes: Double) -> Int { Int(min(bytes, 1e18)) }

    /// Lines for people.
    var text: String {
        var lines: [(String, String)] = []
        if let architecture, let layers, let sparseLayers, let experts, let topK {
            let routing = experts > 0 ? ", \(sparseLayers) with \(experts) experts, \(topK) per token" : ""
            lines.append(("model", "\(architecture), \(layers) layers\(routing)"))
        }
        if let parameters, let activeParameters, let fileBytes, let weightBytes {
            lines.append(("parameters", "\(Self.count(parameters)), \(Self.count(activeParameters)) active per token"))
            lines.append(
                ("weights", "\(ProgressBar.size(fileBytes)) in files, \(ProgressBar.size(weightBytes)) in memory"))
        }
        if let kvBytesPerToken, let contextLength, let otherBytes {
            lines.append(("KV cache", "\(ProgressBar.size(kvBytesPerToken)) per token"))
            lines.append(("context", "\(contextLength) tokens"))
            lines.append(("activations", "\(ProgressBar.size(otherBytes)), with tables and records"))
        }
        lines.append(("this machine", "\(ProgressBar.size(machineBytes)) of memory"))
        if let fits, let tokensThatFit, let weightBytes, let otherBytes {
            let short = ProgressBar.size(max(0, weightBytes + otherBytes - machineBytes))
            lines.append(
                ("fits", fits ? "yes, with up to \(tokensThatFit) tokens in the KV cache" : "no, \(short) short"))
        }
        lines.append(("problems", problems.isEmpty ? "none" : "\(problems.count)"))
        let table = lines.map { $0.0.padding(toLength: 14, withPad: " ", startingAt: 0) + $0.1 + "\n" }.joined()
        return table + problems.map { "  \($0)\n" }.joined()
    }

    /// Such as `15.7 B`.
    static func count(_ number: Int) -> String {
        var value = Double(number)
        for unit in ["", " k", " M", " B"] {
            if value < 999.5 { return String(format: "%.3g", value) + unit }
            value /= 1000
        }
        return String(format: "%.3g", value) + " T"
    }
}
