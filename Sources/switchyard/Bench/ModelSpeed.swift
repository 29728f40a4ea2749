// ModelSpeed: what `bench model` found, as a table and as JSON.

import Foundation
import Measure

/// What `bench model` found: medians over rounds; shares of a limit are of the same round's limit.
struct ModelSpeed: Encodable {
    /// One round: some passes, then both limits.
    struct Round {
        /// Seconds, bytes and operations of a pass.
        var seconds, bytes, operations: Double
        /// Bytes and operations per second that the machine is capable of.
        var readBandwidth, peak: Double
    }

    /// Decoding with so many sequences, or a prompt of so many tokens.
    struct Case: Encodable {
        var work: String
        var sequences: Int
        var tokens: Int
        var tokensPerSecond: Double
        var milliseconds: Double
        var megabytes: Double
        var readBandwidth: Double
        var readShare: Double
        var speed: Double
        var peakShare: Double
        var limitShare: Double

        enum CodingKeys: String, CodingKey {
            case work, sequences, tokens, milliseconds = "ms"
            case tokensPerSecond = "tokens_per_second"
            case megabytes = "mb_per_pass"
            case readBandwidth = "gb_per_second"
            case readShare = "share_of_read_bandwidth"
            case speed = "gflop_per_second"
            case peakShare = "share_of_peak"
            case limitShare = "share_of_limit"
        }

        init(_ work: String, sequences: Int, tokens: Int, rounds: [Round]) {
            func middle(_ value: (Round) -> Double) -> Double { median(rounds.map(value)) }
            self.work = work
            self.sequences = sequences
            self.tokens = tokens
            tokensPerSecond = middle { Double(tokens) / $0.seconds }
            milliseconds = middle { $0.seconds * 1e3 }
            megabytes = middle { $0.bytes / 1e6 }
            readBandwidth = middle { $0.bytes / $0.seconds / 1e9 }
            readShare = middle { $0.bytes / $0.seconds / $0.readBandwidth }
            speed = middle { $0.operations / $0.seconds / 1e9 }
            peakShare = middle { $0.operations / $0.seconds / $0.peak }
            limitShare = middle { max($0.bytes / $0.readBandwidth, $0.operations / $0.peak) / $0.seconds }
        }
    }

    var machine = Machine.name
    var model: String
    var instructionSet: String
    var threads: Int
    var context: Int
    var precision: String
    var cases: [Case]

    enum CodingKeys: String, CodingKey {
        case machine, model, threads, context, precision, cases
        case instructionSet = "instruction_set"
    }

    /// Prints the report.
    func show(json: Bool) throws {
        if json {
            Terminal.print(try jsonReport(self))
            return
        }
        Terminal.print(
            "machine: \(machine); \(instructionSet), \(threads) threads; model: \(model), weights: \(precision); decode after \(context) tokens"
        )
        let header = [
            "work", "tokens/s", "ms", "MB read", "GB/s", "of reading", "GFLOP/s", "of peak", "of the limit",
        ]
        Terminal.print(table([header] + cases.map(\.row)))
    }
}

extension ModelSpeed.Case {
    fileprivate var row: [String] {
        func share(_ value: Double) -> String { "\(short(value * 100)) %" }
        return [
            work == "prompt" ? "prompt \(tokens)" : "decode \(sequences)", short(tokensPerSecond), short(milliseconds),
            short(megabytes), short(readBandwidth), share(readShare), short(speed), share(peakShare),
            share(limitShare),
        ]
    }
}
