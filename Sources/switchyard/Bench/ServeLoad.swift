// ServeLoad: what `bench serve` sends, and when; the same for the same seed.

import ArgumentParser
import Foundation

/// What is sent, and when.
struct ServeLoad: Sendable {
    /// What a request asks to continue.
    enum Prompt: Sendable {
        case ids([Int])
        case text(String)
    }

    /// Seconds from the beginning to each request's arrival, ascending.
    let arrivals: [Double]
    private let texts: [String]
    private let prefix: [Int]
    private let inputLength: Int
    private let seed: UInt64

    /// Ids that every byte-level vocabulary has, and where no special tokens are.
    private static let plainIDs = 16..<250

    /// The load that the flags ask for; reads the file of prompts.
    init(_ options: BenchServe) throws {
        var random = BenchGenerator(state: options.seed)
        var time = 0.0
        arrivals = (0..<options.numPrompts).map { number in
            guard options.requestRate.isFinite, number > 0 else { return time }
            time -= log(1 - Double.random(in: 0..<1, using: &random)) / options.requestRate
            return time
        }
        prefix = (0..<options.prefixLen).map { _ in Int.random(in: Self.plainIDs, using: &random) }
        inputLength = options.inputLen
        seed = random.next()
        texts = try options.prompts.map(Self.read) ?? []
    }

    /// The prompt of request `number`.
    func prompt(_ number: Int) -> Prompt {
        guard texts.isEmpty else { return .text(texts[number % texts.count]) }
        var random = BenchGenerator(state: seed &+ UInt64(number) &* 0x9E37_79B9)
        return .ids(prefix + (0..<inputLength).map { _ in Int.random(in: Self.plainIDs, using: &random) })
    }

    private struct Line: Decodable {
        var prompt: String
    }

    private static func read(_ path: String) throws -> [String] {
        guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
            throw ValidationError("--prompts \(path): cannot be read as text")
        }
        let prompts = text.split(separator: "\n").enumerated().map { number, line in
            (number + 1, try? JSONDecoder().decode(Line.self, from: Data(line.utf8)).prompt)
        }
        if let bad = prompts.first(where: { $0.1 == nil }) {
            throw ValidationError("--prompts \(path): line \(bad.0) is no JSON object with a text \"prompt\"")
        }
        guard !prompts.isEmpty else { throw ValidationError("--prompts \(path): holds no prompt") }
        return prompts.compactMap(\.1)
    }
}
