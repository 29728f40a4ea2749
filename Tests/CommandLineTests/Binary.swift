// Binary: the built `switchyard`, run as a user would.

import Foundation
import Testing

/// The built `switchyard`, run as a user would.
struct Binary: Sendable {
    /// Where the executable lies.
    var url: URL

    /// The executable beside the test bundle.
    init() throws {
        var folder = URL(filePath: CommandLine.arguments[0]).resolvingSymlinksInPath().deletingLastPathComponent()
        let candidates = [folder, Bundle.main.bundleURL, Bundle.main.bundleURL.deletingLastPathComponent()]
        let checkout = URL(filePath: #filePath)
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        folder = try #require(
            (candidates + [checkout.appending(path: ".build/debug")]).first {
                FileManager.default.isExecutableFile(atPath: $0.appending(path: "switchyard").path)
            }, "no switchyard beside the tests")
        url = folder.appending(path: "switchyard")
    }

    /// A copy in a folder of its own, which `body` may use.
    func alone<Result>(_ body: (Binary, URL) async throws -> Result) async throws -> Result {
        let folder = FileManager.default.temporaryDirectory.appending(path: "switchyard-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        var copy = self
        copy.url = folder.appending(path: "switchyard")
        try FileManager.default.copyItem(at: url, to: copy.url)
        return try await body(copy, folder)
    }

    /// What a finished run left.
    struct Outcome: Sendable {
        var status: Int32
        var output: String
        var errors: String
    }

    /// Runs to the end.
    func run(_ arguments: String..., options: [String] = [], input: String = "") async throws -> Outcome {
        try await offPool { try runBlocking(arguments + options, input: input) }
    }

    private func runBlocking(_ arguments: [String], input: String) throws -> Outcome {
        let process = makeProcess(arguments)
        let (output, errors, given) = (Pipe(), Pipe(), Pipe())
        (process.standardOutput, process.standardError, process.standardInput) = (output, errors, given)
        try process.run()
        given.fileHandleForWriting.write(Data(input.utf8))
        try given.fileHandleForWriting.close()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        let problems = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        return Outcome(status: process.terminationStatus, output: text, errors: problems)
    }

    /// A process that is not running yet.
    func makeProcess(_ arguments: [String]) -> Process {
        let process = Process()
        process.executableURL = url
        process.arguments = arguments
        process.currentDirectoryURL = url.deletingLastPathComponent()
        return process
    }
}

/// A `switchyard serve` that is running.
struct RunningServer: @unchecked Sendable {  // the process is only signalled and waited for
    let process: Process
    /// What it printed until it listened.
    let startLines: [String]
    /// Where it listens.
    let address: URL
    private let output: Pipe
    private let errors: Pipe

    /// Starts a server on a free port and waits until it listens.
    static func start(_ binary: Binary, _ arguments: [String]) async throws -> RunningServer {
        try await offPool { try RunningServer(binary, arguments) }
    }

    private init(_ binary: Binary, _ arguments: [String]) throws {
        process = binary.makeProcess(["serve", "--port", "0"] + arguments)
        output = Pipe()
        errors = Pipe()
        process.standardOutput = output
        process.standardError = errors
        try process.run()
        var text = ""
        while !text.contains("roll! http") || !text.hasSuffix("\n") {
            let data = output.fileHandleForReading.availableData
            if data.isEmpty { break }
            text += String(decoding: data, as: UTF8.self)
        }
        startLines = text.split(separator: "\n").map(String.init)
        let last = startLines.last?.split(separator: " ").last.map(String.init)
        address = try #require(last.flatMap { URL(string: $0) }, "\(text)")
    }

    /// Sends `signal` and waits for the end.
    ///
    /// - Returns: the exit status, what ended the process, and what it wrote to standard error.
    func stop(_ signal: Int32) async throws -> (status: Int32, reason: Process.TerminationReason, errors: String) {
        try await offPool { stopBlocking(signal) }
    }

    private func stopBlocking(_ signal: Int32) -> (status: Int32, reason: Process.TerminationReason, errors: String) {
        kill(process.processIdentifier, signal)
        let text = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        return (process.terminationStatus, process.terminationReason, text)
    }
}

/// Runs blocking `work` on a thread of its own, so that it does not starve the tests beside it.
func offPool<Value: Sendable>(_ work: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
        Thread { continuation.resume(with: Result(catching: work)) }.start()
    }
}
