import Foundation
import Testing

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

/// The built binary from outside. Each run loads the demo model, so there are few.
@Suite struct BinaryTests {
    @Test("help shows defaults and examples", .timeLimit(.minutes(1)))
    func help() async throws {
        let binary = try Binary()
        let serve = try await binary.run("serve", "--help")
        #expect(serve.status == 0)
        #expect(serve.output.contains("Examples:"))
        #expect(serve.output.contains("default: 1024"))
        #expect(try await binary.run("generate", "--help").output.contains("Examples:"))
        #expect(try await binary.run("--help").output.contains("serve"))
        #expect(try await binary.run("--version").output.contains("."))
    }

    @Test(
        "what goes wrong is one line on standard error", .timeLimit(.minutes(1)),
        arguments: [
            (["serve", "--model-path", "/no/such/folder"], "/no/such/folder: no such folder"),
            (["serve", "--host", "no.such.host.invalid"], "--host no.such.host.invalid"),
            (["generate", "--prompt", "a", "--model-path", "."], "tokenizer.json: no such file"),
            (["generate", "--prompt", "a", "--temperature=-1"], "temperature is -1"),
        ])
    func failures(arguments: [String], text: String) async throws {
        try await Binary().alone { binary, _ in
            let outcome = try await binary.run(options: arguments)
            let lines = outcome.errors.split(separator: "\n")
            #expect(outcome.status != 0)
            #expect(lines.last?.contains(text) == true, "\(lines)")
            #expect(lines.filter { $0.contains("Error") }.count == 1)
        }
    }

    @Test("an unknown flag is named first", .timeLimit(.minutes(1)))
    func unknownFlag() async throws {
        let outcome = try await Binary().run("serve", "--nonsense")
        #expect(outcome.status != 0)
        #expect(outcome.errors.split(separator: "\n").first?.contains("--nonsense") == true)
    }

    @Test("a copy of the binary alone generates text, the same for the same seed", .timeLimit(.minutes(1)))
    func generate() async throws {
        struct Report: Decodable {
            var text: String
            var outputIDs: [Int]

            enum CodingKeys: String, CodingKey {
                case text
                case outputIDs = "output_ids"
            }
        }
        try await Binary().alone { binary, folder in
            let arguments = ["--max-new-tokens", "8", "--seed", "5", "--threads", "2"]
            func report() async throws -> Report {
                let outcome = try await binary.run("generate", "--json", "--prompt", "import os", options: arguments)
                #expect(outcome.status == 0, "\(outcome.errors)")
                return try JSONDecoder().decode(Report.self, from: Data(outcome.output.utf8))
            }
            let first = try await report()
            #expect(first.outputIDs.count == 8)
            #expect(try await report().outputIDs == first.outputIDs)
            let plain = try await binary.run(
                "generate", "--prompt", "-", "--show-experts", options: arguments, input: "import os")
            #expect(plain.output.hasPrefix(first.text + "\n"))
            #expect(plain.output.contains("layer 7 |"))
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["switchyard"])
        }
    }

    @Test("a copy of the binary alone serves, and Ctrl-C ends it cleanly", .timeLimit(.minutes(1)))
    func serve() async throws {
        try await Binary().alone { binary, _ in
            let server = try await RunningServer.start(binary, ["--threads", "2"])
            #expect(server.startLines.count == 2)
            #expect(server.startLines[0].hasPrefix("model=switchyard-demo device=cpu isa="))
            #expect(server.startLines[0].contains("layers=8 experts=16 top_k=4 token_capacity="))
            #expect(server.startLines[0].contains(" precision=stored weight_bytes="))
            #expect(server.startLines[1].hasPrefix("The server is fired up and ready to roll! http://127.0.0.1:"))
            let port = try #require(server.address.port)

            var request = URLRequest(url: server.address.appending(path: "generate"))
            request.httpMethod = "POST"
            request.httpBody = Data(#"{"text": "import os", "sampling_params": {"max_new_tokens": 4}}"#.utf8)
            let (data, response) = try await URLSession.shared.data(for: request)
            #expect((response as? HTTPURLResponse)?.statusCode == 200)
            #expect(String(decoding: data, as: UTF8.self).contains(#""completion_tokens":4"#))

            let second = try await binary.run("serve", "--port", String(port))
            #expect(second.status != 0)
            #expect(
                second.errors == "Error: --port \(port): address already in use; choose another with --port\n")

            let end = try await server.stop(SIGINT)
            #expect(end.status == 0)
            #expect(end.reason == .exit)
            #expect(end.errors.split(separator: "\n").filter { $0.hasPrefix("stopping:") }.count == 1)
        }
    }

    @Test("requests that do not end in time are aborted, and the server still ends cleanly", .timeLimit(.minutes(1)))
    func shutdownTimeout() async throws {
        let server = try await RunningServer.start(Binary(), ["--threads", "1", "--shutdown-timeout", "1"])
        var request = URLRequest(url: server.address.appending(path: "generate"))
        request.httpMethod = "POST"
        request.httpBody = Data(
            #"{"input_ids": [5], "sampling_params": {"max_new_tokens": 2000, "ignore_eos": true}}"#.utf8)
        async let reply = URLSession.shared.data(for: request)
        let info = server.address.appending(path: "get_server_info")
        while !String(decoding: try await URLSession.shared.data(from: info).0, as: UTF8.self)
            .contains(#""num_running_reqs":1"#)
        {
            try await Task.sleep(for: .milliseconds(20))
        }
        let end = try await server.stop(SIGTERM)
        #expect(end.status == 0)
        #expect(String(decoding: try await reply.0, as: UTF8.self).contains(#""type":"abort""#))
    }
}
