// `switchyard experts`, run as a user would, on the recorder's vectors.

import Foundation
import Support
import Testing

@Suite struct ExpertsCommandTests {
    private func run(_ arguments: [String]) async throws -> Binary.Outcome {
        try await Binary().run("experts", options: arguments)
    }

    /// The output of a run that succeeds.
    private func output(_ arguments: [String]) async throws -> String {
        let outcome = try await run(arguments)
        #expect(outcome.status == 0, "\(outcome.errors)")
        return outcome.output
    }

    private func golden(_ path: String) -> String { Golden.url("recorder/\(path)").path(percentEncoded: false) }

    @Test(
        "every command explains itself with examples",
        arguments: ["show", "plot", "convert", "plan", "analyze", "advise"])
    func help(command: String) async throws {
        let text = try await output([command, "--help"])
        #expect(text.contains("Examples:") && text.contains("switchyard experts \(command) "))
        #expect(try await output(["--help"]).contains("  \(command) "))
    }

    // MARK: show

    @Test("show draws every layer and says whether there is a hot set", arguments: ["stat", "per_pass", "per_token"])
    func show(mode: String) async throws {
        let text = try await output(["show", golden("redundant_8_to_12/\(mode).pt")])
        for part in [
            "mode \(mode)", "layer 0 |", "layer 3 |", "entropy", "top share", "unused", "hottest: ", "A hot set: ",
        ] {
            #expect(text.contains(part), "\(part) in \(text)")
        }
    }

    @Test("show --json has one entry per layer and the counts of the mode that is asked for")
    func showJSON() async throws {
        struct Report: Decodable {
            struct Layer: Decodable {
                var layer: Int
                var pairs: Int
                var topShare: Double
                var entropy: Double
                var unusedShare: Double
                var balancedness: Double?
            }
            struct Hot: Decodable { var verdict: String }
            var layers: [Layer]
            var passes: Int
            var hotSet: Hot
        }
        func report(_ options: String...) async throws -> Report {
            let decoder = JSONDecoder()
            decoder.keyDecodingStrategy = .convertFromSnakeCase
            let text = try await output(["show", golden("redundant_8_to_12/per_token.pt"), "--json"] + options)
            return try decoder.decode(Report.self, from: Data(text.utf8))
        }
        let (all, prefill, decode) = (
            try await report("--gpus", "4"), try await report("--mode", "prefill"), try await report("--mode", "decode")
        )
        #expect(all.layers.map(\.layer) == [0, 1, 2, 3] && all.hotSet.verdict == "insufficient")
        #expect(all.passes == prefill.passes + decode.passes)
        for layer in 0..<4 {
            #expect(all.layers[layer].pairs == prefill.layers[layer].pairs + decode.layers[layer].pairs)
            #expect((0.25...1).contains(try #require(all.layers[layer].balancedness)))
        }
        #expect(try await report("--layer", "2").layers.map(\.layer) == [2])
    }

    @Test("show reads every format alike")
    func formats() async throws {
        let folder = try TemporaryFolder()
        let first = try await output(["show", golden("window_12_passes/per_token.pt"), "--json", "--mode", "decode"])
        var path = golden("window_12_passes/per_token.pt")
        for format in ["safetensors", "json", "pt"] {
            let next = folder.path(of: "r.\(format)")
            #expect(try await output(["convert", path, "-o", next]).hasPrefix("\(next): mode per_token, 12 passes"))
            let text = try await output(["show", next, "--json", "--mode", "decode"])
            #expect(text.replacingOccurrences(of: next, with: golden("window_12_passes/per_token.pt")) == first)
            path = next
        }
    }

    // MARK: plot and convert

    @Test("plot writes a whole SVG")
    func plot() async throws {
        let folder = try TemporaryFolder()
        let path = folder.path(of: "a.svg")
        _ = try await output(["plot", golden("window_12_passes/stat.pt"), "-o", path, "--gpus", "3"])
        let text = try String(contentsOfFile: path, encoding: .utf8)
        #expect(text.hasPrefix("<svg ") && text.hasSuffix("</svg>\n") && text.contains("balancedness of the sums"))
        #expect(try await output(["plot", golden("window_12_passes/stat.pt"), "-o", "-", "--gpus", "3"]) == text)
    }

    // MARK: plan

    @Test(
        "plan reports, and writes what it can start from again",
        arguments: ["balanced", "compatible", "incremental"], ["json", "pt"])
    func plan(policy: String, format: String) async throws {
        let folder = try TemporaryFolder()
        let (load, path) = (golden("redundant_8_to_12/per_pass.pt"), folder.path(of: "placement.\(format)"))
        let text = try await output(["plan", load, "--gpus", "4", "--slots", "12", "--policy", policy, "-o", path])
        #expect(text.hasPrefix("\(policy) plan: 4 layers × 8 experts, 12 slots, 4 GPUs\n"))
        for part in ["balancedness  ", "bound  ", "transfers  ", "time  ", "written  "] { #expect(text.contains(part)) }
        let again = try await output(["plan", load, "--gpus", "4", "--from", path, "--policy", "incremental", "--json"])
        #expect(again.contains("\"slots\" : 12") && again.contains("\"balancedness_before\""))
    }

    @Test("plan takes tables of one and of several windows, and prints the map alone on standard output")
    func planTables() async throws {
        let folder = try TemporaryFolder()
        for (name, table) in [("a.json", "[[9, 1, 1, 1]]"), ("b.json", "[[[5, 1, 1, 0]], [[4, 0, 0, 1]]]")] {
            try folder.write("{\"logical_count\": \(table)}".utf8, to: name)
            let text = try await output(["plan", folder.path(of: name), "--gpus", "2", "--redundant", "2", "-o", "-"])
            let map = try JSONDecoder().decode([String: [[Int]]].self, from: Data(text.utf8))
            let row = try #require(map["physical_to_logical_map"]?.first)
            #expect(map.count == 1 && row.count == 6 && Set(row) == [0, 1, 2, 3] && row.count { $0 == 0 } == 2)
        }
    }

    @Test(
        "costs at the ends of their ranges give text, JSON and a page",
        arguments: [
            ["--bytes-per-expert", "1e15", "--bandwidth", "1e-6", "--pass-time", "1e-3"],
            ["--hidden", "10000000", "--intermediate", "10000000", "--pass-time", "1e9", "--expert-share", "1e-9"],
        ])
    func extremeCosts(costs: [String]) async throws {
        let folder = try TemporaryFolder()
        let file = try windows(24, isSkewed: true, in: folder)
        let page = folder.path(of: "out.html")
        let text = try await output(["advise", file, "--gpus", "4", "--html", page] + costs)
        #expect(text.contains("4 GPUs: "))
        let json = try await output(["advise", file, "--gpus", "4", "--json"] + costs)
        #expect(json.contains("\"cases\""))
    }

    @Test("what lies beside the output is replaced only if a plan wrote it")
    func beside() async throws {
        let folder = try TemporaryFolder()
        let arguments = [
            "plan", golden("redundant_8_to_12/per_pass.pt"), "--gpus", "4", "-o", folder.path(of: "p.json"),
        ]
        try folder.write("{\"mine\": 1}".utf8, to: "p.about.json")
        let refused = try await run(arguments)
        #expect(refused.status != 0 && refused.errors.contains("p.about.json would hold"), "\(refused.errors)")
        #expect(try String(contentsOfFile: folder.path(of: "p.about.json"), encoding: .utf8) == "{\"mine\": 1}")
        #expect(!FileManager.default.fileExists(atPath: folder.path(of: "p.json")))
        try FileManager.default.removeItem(atPath: folder.path(of: "p.about.json"))
        for _ in 0..<2 { #expect(try await output(arguments).contains("p.about.json")) }
    }

    // MARK: analyze and advise

    /// A file of `rows` windows whose first experts are the busiest, or all are alike.
    private func windows(_ rows: Int, isSkewed: Bool, in folder: TemporaryFolder) throws -> String {
        var random = SeededGenerator(seed: 4)
        let counts = (0..<rows).map { _ in
            (0..<2).map { _ in
                (0..<16).map { (isSkewed ? 8000 / (1 + $0) : 2000) + Int.random(in: 0...50, using: &random) }
            }
        }
        try folder.write(try JSONEncoder().encode(["logical_count": counts]), to: "windows.json")
        return folder.path(of: "windows.json")
    }

    @Test("analyze has a row per layer with load, and one per machine")
    func analyze() async throws {
        struct Report: Decodable {
            struct Layer: Decodable { var lost: Double }
            struct Machine: Decodable {
                var gpus: Int
                var slots: Int
                var balancedness: Double
                var bound: Double
            }
            var layers: [Layer]
            var machines: [Machine]
        }
        let folder = try TemporaryFolder()
        let file = try windows(8, isSkewed: true, in: folder)
        let text = try await output(["analyze", file, "--gpus", "4,8", "--redundant", "0,4,8"])
        #expect(text.hasPrefix("4 GPUs, 16 slots, trivial placement: "))
        for part in ["busiest GPU", "bound of sums"] { #expect(text.contains(part)) }
        let data = Data(try await output(["analyze", file, "--gpus", "4,8", "--redundant", "0,4,8", "--json"]).utf8)
        let report = try JSONDecoder().decode(Report.self, from: data)
        #expect(report.layers.count == 2 && report.layers.allSatisfy { (0.2...0.75).contains($0.lost) })
        #expect(
            report.machines.map(\.gpus) == [4, 4, 4, 8, 8] && report.machines.map(\.slots) == [16, 20, 24, 16, 24])
        #expect(report.machines.allSatisfy { $0.balancedness <= $0.bound + 1e-6 })
        // In a recording, layer 0 is dense: it has no load and no row.
        let dense = try await output(["analyze", golden("redundant_8_to_12/per_pass.pt"), "--gpus", "4"])
        #expect(!dense.contains("\n0 ") && dense.contains("\n1 ") && dense.contains("recorded placement") == false)
    }

    @Test(
        "advise says what the load deserves",
        arguments: [(24, true, "worth it"), (24, false, "not now"), (3, true, "record more")])
    func advise(rows: Int, isSkewed: Bool, verdict: String) async throws {
        struct Report: Decodable {
            struct Policy: Decodable {
                var policy: String
                var transfersPerHour: Double
            }
            struct Case: Decodable {
                var gpus: Int
                var verdict: String
                var reason: String
                var policies: [Policy]
            }
            var cases: [Case]
        }
        let folder = try TemporaryFolder()
        let file = try windows(rows, isSkewed: isSkewed, in: folder)
        let page = folder.path(of: "out.html")
        let text = try await output(["advise", file, "--gpus", "4", "--bytes-per-expert", "1e6", "--html", page])
        #expect(text.contains("4 GPUs: \(verdict). "))
        #expect(text.contains("windows after") || verdict != "worth it")
        let html = try String(contentsOfFile: page, encoding: .utf8)
        #expect(html.hasPrefix("<!doctype html>") && html.hasSuffix("</html>\n") && html.contains("\(verdict).</b>"))
        #expect(html.contains("<svg ") && !html.contains("http://localhost") && !html.contains("<script"))
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let data = Data(try await output(["advise", file, "--gpus", "4,8", "--redundant", "0,8", "--json"]).utf8)
        let cases = try decoder.decode(Report.self, from: data).cases
        #expect(cases.map(\.gpus) == [4, 8] && cases.map(\.verdict) == [verdict, verdict])
        #expect(cases.allSatisfy { $0.policies.count == 11 && !$0.reason.isEmpty })
    }

    @Test("advise takes several files of one run, also recordings")
    func adviseFiles() async throws {
        let files = ["stat", "per_pass"].map { golden("window_12_passes/\($0).pt") }
        let text = try await output(["advise"] + files + ["--gpus", "3", "--window", "2"])
        #expect(text.contains("24 passes of 2 layers × 6 experts; windows: 12, judged on the last 9"))
        #expect(text.contains("3 GPUs: record more. "))
    }

    // MARK: refusals

    @Test(
        "what is impossible is refused with the flag and what would be possible",
        arguments: [
            (["plan", "LOAD"], "--gpus: "),
            (["plan", "LOAD", "--gpus", "5"], "--gpus 5: 12 slots do not divide among 5 GPUs"),
            (["plan", "LOAD", "--gpus", "4", "--redundant", "3"], "try 8 or 12 (--redundant 0 or 4)"),
            (["plan", "LOAD", "--gpus", "4", "--slots", "4"], "--slots 4: 4 slots cannot hold 8 experts"),
            (["plan", "LOAD", "--gpus", "4", "--slots", "8", "--redundant", "0"], "say the same thing"),
            (
                ["plan", "LOAD", "--gpus", "4", "--nodes", "3", "--groups", "3"],
                "--nodes 3: 4 GPUs do not divide among 3 nodes: try 2 or 4 nodes, or 3 or 6 GPUs"
            ),
            (
                ["plan", "LOAD", "--gpus", "4", "--groups", "3"],
                "--groups 3: 8 experts do not divide into 3 groups: try 2 or 4"
            ),
            (["plan", "LOAD", "--gpus", "1048576"], "--gpus 1048576: must be from 1 to 4096"),
            (["plan", "LOAD", "--gpus", "4", "--slots", "1048576"], "--slots 1048576: must be from 1 to 16384"),
            (["plan", "LOAD", "--gpus", "4", "--transfers", "3"], "--transfers 3 is for --policy incremental"),
            (["plan", "LOAD", "--gpus", "4", "--spill"], "--spill: on one node replicas may lie anywhere already"),
            (["advise", "LOAD", "--gpus", "65536"], "--gpus 65536: must be from 1 to 4096"),
            (["advise", "LOAD", "--gpus", "4", "--pass-time", "1e-30"], "--pass-time 1e-30: must be from 0.001 to"),
            (
                ["advise", "LOAD", "--gpus", "4", "--bytes-per-expert", "1e300"],
                "--bytes-per-expert 1"
            ),
            (["advise", "LOAD", "--gpus", "4", "--bandwidth", "1e-300"], "--bandwidth 1e-300: must be from 1e-06 to"),
            (["plan", "LOAD", "--gpus", "4", "--from", "{}"], "--from the JSON given"),
            (["plan", "LOAD", "--gpus", "0"], "--gpus 0: must be from 1"),
            (["plan", "LOAD", "--gpus", "2", "-o", "x.txt"], "-o x.txt: a placement is written as .json or .pt"),
            (["plan", "/nowhere.pt", "--gpus", "2"], "/nowhere.pt: No such file"),
            (["show", "LOAD", "--layer", "9"], "--layer 9: "), (["show", "LOAD", "--gpus", "5"], "--gpus 5: "),
            (["show", "STAT", "--mode", "decode"], "--mode decode: "),
            (["analyze", "LOAD"], "--gpus: "), (["analyze", "LOAD", "--gpus", "4,x"], "'4,x' is invalid for '--gpus"),
            (
                ["analyze", "LOAD", "--gpus", "4", "--redundant", "1"],
                "none of 1 beside 8 experts divides among 4 GPUs; try 0, 4, 8"
            ),
            (["advise", "LOAD"], "--gpus: "), (["advise", "LOAD", "OTHER", "--gpus", "2"], "give files of one model"),
            (
                ["advise", "LOAD", "--gpus", "4", "--redundant", "1"],
                "--redundant 1: 9 slots do not divide among 4 GPUs; try 0 or 4"
            ),
            (["advise", "LOAD", "--gpus", "4", "--hidden", "4"], "--hidden and --intermediate belong together"),
            (["advise", "LOAD", "--gpus", "4", "--window", "99"], "--window 99: there are "),
            (["advise", "LOAD", "--gpus", "4", "--expert-share", "2"], "--expert-share 2.0: must be above 0"),
            (["convert", "LOAD", "-o", "x.csv"], "-o x.csv: the format goes by the name"),
            (["plot", "LOAD", "-o", "/nowhere/x.svg"], "-o /nowhere/x.svg: cannot be written"),
        ])
    func refused(arguments: [String], message: String) async throws {
        let files = [
            "LOAD": "redundant_8_to_12/per_token.pt", "STAT": "redundant_8_to_12/stat.pt",
            "OTHER": "tiny_identity/stat.pt",
        ]
        let outcome = try await run(arguments.map { files[$0].map(golden) ?? $0 })
        #expect(outcome.status != 0 && outcome.errors.contains(message), "\(outcome.errors)")
        #expect(outcome.output.isEmpty)
    }

    @Test(
        "wrong counts are refused with layer and expert",
        arguments: [
            ("[[1, 2], [3, -4]]", "layer 1, expert 1: the count is negative"),
            ("[[1, 2], [3, NaN]]", "NaN and infinity are none"), ("[[1, 2], [3]]", "layer 1 counts 1 experts"),
            ("[]", "is empty"), ("[[0, 0]]", "counts no tokens at all"), ("[[1, 1e39]]", "layer 0, expert 1"),
        ])
    func wrongCounts(table: String, message: String) async throws {
        let folder = try TemporaryFolder()
        try folder.write("{\"logical_count\": \(table)}".utf8, to: "load.json")
        let outcome = try await run(["plan", folder.path(of: "load.json"), "--gpus", "1"])
        #expect(outcome.status != 0 && outcome.errors.contains(message), "\(outcome.errors)")
    }
}
