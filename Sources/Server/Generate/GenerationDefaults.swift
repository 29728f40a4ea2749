// GenerationDefaults: what a model's authors recommend in generation_config.json.

internal import Compute
public import Engine
public import Models

#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

/// Sampling values that a model recommends; nil where it says nothing.
public struct GenerationDefaults: Sendable, Equatable {
    /// Recommended `temperature`.
    public var temperature: Float?
    /// Recommended `top_p`.
    public var topP: Float?
    /// Recommended `top_k`; -1 keeps all.
    public var topK: Int?
    /// Recommended `min_p`.
    public var minP: Float?
    /// Recommended `repetition_penalty`.
    public var repetitionPenalty: Float?

    /// No recommendation.
    public init() {}

    /// Reads `generation_config.json`; a model without the file recommends nothing.
    ///
    /// - Throws: `ModelTextError` when the file is there but is not what it should be.
    public init(files: ModelFiles) throws {
        let name = "generation_config.json"
        guard let mapped = try files.bytes(name) else { return }
        do {
            let file = try JSONDecoder().decode(File.self, from: Data(mapped.bytes))
            temperature = file.temperature
            topP = file.topP
            topK = file.topK.map { $0 < 1 ? -1 : $0 }
            minP = file.minP
            repetitionPenalty = file.repetitionPenalty
        } catch {
            throw ModelTextError(file: files.location(of: name), reason: RequestFailure(error).message)
        }
    }

    /// sglang's defaults, replaced by the recommendations there are.
    public var samplingParameters: SamplingParameters {
        var parameters = SamplingParameters()
        if let temperature { parameters.temperature = temperature }
        if let topP { parameters.topP = topP }
        if let topK { parameters.topK = topK }
        if let minP { parameters.minP = minP }
        if let repetitionPenalty { parameters.repetitionPenalty = repetitionPenalty }
        return parameters
    }

    private struct File: Decodable {
        var temperature: Float?
        var topP: Float?
        var topK: Int?
        var minP: Float?
        var repetitionPenalty: Float?

        enum CodingKeys: String, CodingKey {
            case temperature
            case topP = "top_p"
            case topK = "top_k"
            case minP = "min_p"
            case repetitionPenalty = "repetition_penalty"
        }
    }
}
