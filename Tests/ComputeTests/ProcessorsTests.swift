import Foundation
import Support
import Testing

@testable import Compute

@Suite struct ProcessorsTests {
    /// What a process in the groups `groups` finds under a root that holds `files`.
    private func quota(_ groups: String, _ files: [String: String]) throws -> Double? {
        let folder = try TemporaryFolder()
        try folder.write(groups.utf8, to: "groups")
        for (name, text) in files {
            let file = folder.url.appending(path: name)
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(text.utf8).write(to: file)
        }
        return Processors.quota(groups: folder.path(of: "groups"), root: folder.url.path)
    }

    @Test("version 2: the least limit on the way to the root counts")
    func unified() throws {
        let group = "0::/a/b\n"
        #expect(try quota(group, ["a/b/cpu.max": "max 100000\n"]) == nil)
        #expect(try quota(group, ["a/b/cpu.max": "150000 100000\n"]) == 1.5)
        #expect(try quota(group, ["a/b/cpu.max": "max 100000\n", "a/cpu.max": "50000 100000\n"]) == 0.5)
        #expect(try quota(group, ["a/b/cpu.max": "400000 100000\n", "a/cpu.max": "200000 100000\n"]) == 2)
        // A container sees its own group as the root, whatever its path says.
        #expect(try quota(group, ["cpu.max": "300000 100000\n"]) == 3)
        #expect(try quota("0::/\n", ["cpu.max": "300000 100000\n"]) == 3)
    }

    @Test("version 1: beside groups of other controllers")
    func divided() throws {
        let groups = "9:name=systemd:/\n4:memory:/m\n2:cpuacct,cpu:/a\n0::/\n"
        func files(_ time: String) -> [String: String] {
            ["cpu/a/cpu.cfs_quota_us": time, "cpu/a/cpu.cfs_period_us": "100000\n"]
        }
        #expect(try quota(groups, files("-1\n")) == nil)
        #expect(try quota(groups, files("250000\n")) == 2.5)
        #expect(
            try quota(
                groups,
                ["cpuacct,cpu/cpu.cfs_quota_us": "50000\n", "cpuacct,cpu/cpu.cfs_period_us": "50000\n"]) == 1)
    }

    @Test(
        "what cannot be read is no limit",
        arguments: ["", "max\n", "100000\n", "-5 100000\n", "0 100000\n", "100000 0\n", "x y\n", "1e99 1\n"])
    func unreadable(text: String) throws {
        #expect(try quota("0::/a\n", ["a/cpu.max": text]) == nil)
        #expect(try quota("nonsense", ["cpu.max": "100000 100000"]) == nil)
        #expect(Processors.quota(groups: "/no/such/file", root: "/no/such") == nil)
    }

    @Test("there is a thread for each CPU that this process may use, and at least one")
    func threads() {
        let allowed = Processors.allowed
        #expect(allowed == Array(Set(allowed)).sorted())
        #expect(Processors.threadCount >= 1 && (allowed.isEmpty || Processors.threadCount <= allowed.count))
    }

    @Test(
        "a pinned pool computes what any does, with fewer, as many and more threads than CPUs",
        arguments: [1, 2, 3, 64])
    func pinned(threads: Int) throws {
        let before = Processors.allowed
        let backend = try #require(CPUBackend(threads: threads, pinsThreads: true))
        defer { backend.stop() }
        var generator = SeededGenerator(seed: 3)
        let weight = try TestWeight(.float32, shape: [64, 32], using: &generator)
        let matrix = backend.makeMatrix([[TensorRows(weight.tensor)]], gated: false, precision: .stored)
        let x = Buffer(randomFloats(40 * 32, using: &generator), width: 32)
        let (out, expected) = (Buffer(rows: 40, width: 64), Buffer(rows: 40, width: 64))
        backend.linear(x, count: 40, weight: matrix, bias: nil, out: out, accumulate: false)
        let plain = try #require(CPUBackend(threads: 1))
        defer { plain.stop() }
        plain.linear(x, count: 40, weight: matrix, bias: nil, out: expected, accumulate: false)
        for row in 0..<40 { #expect(Array(out[row: row]) == Array(expected[row: row])) }
        // The caller, and so what it starts, stays where it was.
        #expect(Processors.allowed == before)
    }
}
