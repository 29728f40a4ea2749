// Fuzz: reads bytes that nobody meant to send, a case at a time, in every reader that meets bytes from outside.
//
// A reader may refuse; it may not trap, hang, or blame itself. A case depends on the seed, the reader and its number only,
// so one that fails is repeated by the line that is printed. `Tools/fuzz` runs a million and more.

import ArgumentParser
import Foundation

/// The command.
@main struct Fuzz: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Feed mutated requests and files to the readers.",
        discussion: """
            Examples:
              fuzz --cases 1000000
              fuzz --reader pt --seed 7 --first 4711 --cases 1
            """)

    @Option(help: "Cases in all, shared among the readers.")
    var cases = 100_000
    @Option(help: "What the cases depend on.")
    var seed: UInt64 = 1
    @Option(help: "Number of the first case.")
    var first = 0
    @Option(help: "The reader to feed; all without it.")
    var reader: String?

    func run() throws {
        let subjects = try Subjects.all().filter { reader == nil || $0.name == reader }
        guard !subjects.isEmpty else { throw ValidationError("--reader \(reader ?? ""): no such reader") }
        LastWords.prepare()
        let shares = subjects.reduce(0) { $0 + $1.share }
        for subject in subjects {
            let count = max(1, cases * subject.share / shares)
            let start = ContinuousClock.now
            LastWords.begin("fuzz: died in: --reader \(subject.name) --seed \(seed) --cases 1 --first ")
            let accepted = try subject.run(count, first: first, seed: seed) { LastWords.number = $0 }
            let seconds = (ContinuousClock.now - start) / .seconds(1)
            print("\(subject.name): \(count) cases, \(accepted) accepted, \(Int(Double(count) / seconds)) per second")
        }
    }
}

/// A reader of bytes from outside.
struct Subject: Sendable {
    /// What it reads, as `--reader` takes it.
    var name: String
    /// Its part of the cases, relative to the others'.
    var share: Int
    /// Well-formed inputs to begin from.
    var seeds: [[UInt8]]
    /// Pieces that mean something to the reader.
    var words: [[UInt8]]
    /// Makes what the reader gets of a mutated seed.
    var wrap: @Sendable (_ mutated: [UInt8], _ seed: Int) -> [UInt8] = { bytes, _ in bytes }
    /// Reads, and uses what was read; whether it was accepted.
    var read: @Sendable ([UInt8]) throws -> Bool

    /// Runs cases one after the other.
    ///
    /// - Parameters:
    ///   - count: how many.
    ///   - first: number of the first.
    ///   - seed: what they depend on, beside their numbers.
    ///   - note: told the number of each case before it begins.
    /// - Returns: how many inputs were accepted.
    /// - Throws: what `read` throws: a reader that blames itself.
    func run(_ count: Int, first: Int = 0, seed: UInt64, note: (Int) -> Void = { _ in }) throws -> Int {
        var accepted = 0
        for number in first..<first + count {
            note(number)
            var mutator = Mutator(seed: seed &+ UInt64(number) &* 0xD134_2543_DE82_EF95, words: words)
            let (bytes, origin) = mutator.mutant(of: seeds)
            do {
                if try read(wrap(bytes, origin)) { accepted += 1 }
            } catch {
                throw BlamesItself(reader: name, seed: seed, number: number, reason: "\(error)")
            }
        }
        return accepted
    }
}

/// A reader that failed in a way that bytes from outside must not cause.
struct BlamesItself: Error, CustomStringConvertible {
    var reader: String
    var seed: UInt64
    var number: Int
    var reason: String

    var description: String { "fuzz --reader \(reader) --seed \(seed) --first \(number) --cases 1: \(reason)" }
}

/// Says which case ended the process, if one does.
private enum LastWords {
    nonisolated(unsafe) private static var text = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: 256)
    nonisolated(unsafe) private static var count = 0
    /// The case that runs.
    nonisolated(unsafe) static var number = 0 {
        didSet { if number & 0xFF == 0 { alarm(60) } }
    }

    static func prepare() {
        for kind in [SIGILL, SIGTRAP, SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGALRM] {
            signal(kind) { LastWords.speak($0) }
        }
        alarm(60)
    }

    /// What is said before the number.
    static func begin(_ words: String) { count = text.update(fromContentsOf: words.utf8.prefix(text.count - 32)) }

    /// Allocates nothing: the process may be dying within an allocation.
    private static func speak(_ kind: Int32) {
        var end = count
        var divisor = 1
        while number / divisor >= 10 { divisor *= 10 }
        while divisor > 0 {
            text[end] = UInt8(48 + number / divisor % 10)
            end += 1
            divisor /= 10
        }
        text[end] = 10
        _ = write(2, text.baseAddress, end + 1)
        signal(kind, SIG_DFL)
        raise(kind)
    }
}
