import Compute
import DemoModel
import Engine
import Foundation
import Models
import Testing
import Text

@testable import Server

@Suite struct ModelTextTests {
    /// The demo model's tokenizer beside other small files.
    private func files(_ contents: [String: String], tokenizer: Bool = true) throws -> ModelFiles {
        var files: [String: MappedBytes] = [:]
        for (name, content) in contents {
            let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: content.utf8.count, alignment: 1)
            copy.copyBytes(from: content.utf8)
            files[name] = MappedBytes(permanent: UnsafeRawBufferPointer(copy), name: name)
        }
        if tokenizer { files["tokenizer.json"] = try ModelFiles.demo.bytes("tokenizer.json") }
        return ModelFiles(embedded: "test", files: files)
    }

    @Test("a model without a tokenizer says so")
    func noTokenizer() throws {
        let error = #expect(throws: ModelTextError.self) { try ModelText(files: files([:], tokenizer: false)) }
        #expect(error?.description.contains("tokenizer.json: no such file") == true)
    }

    @Test(
        "templates come as one, as named ones, or as a file of their own",
        arguments: [
            ["tokenizer_config.json": #"{"chat_template": "A{{ bos_token }}", "bos_token": "<b>"}"#],
            [
                "tokenizer_config.json":
                    #"{"chat_template": [{"name": "tool_use", "template": "T"}, {"name": "default", "#
                    + #""template": "A{{ bos_token }}"}], "bos_token": {"content": "<b>", "lstrip": false}}"#
            ],
            [
                "tokenizer_config.json": #"{"chat_template": "old", "bos_token": "<b>"}"#,
                "chat_template.jinja": "A{{ bos_token }}",
            ],
        ])
    func templates(contents: [String: String]) throws {
        let text = try ModelText(files: files(contents))
        #expect(try text.prompt(messages: .array([])) == "A<b>")
        let withTools = try text.prompt(messages: .array([]), tools: .array([.int(1)]))
        #expect(withTools == (contents.values.contains { $0.contains("tool_use") } ? "T" : "A<b>"))
    }

    @Test("a model without a template refuses chats only")
    func noTemplate() throws {
        let text = try ModelText(files: files([:]))
        let error = #expect(throws: RequestError.self) { try text.prompt(messages: .array([])) }
        #expect(error?.field == "messages")
        #expect(text.defaults == GenerationDefaults())
    }

    @Test("a broken template refuses chats only, and says why")
    func brokenTemplate() throws {
        let text = try ModelText(files: files(["tokenizer_config.json": #"{"chat_template": "{% if %}"}"#]))
        #expect(text.templateProblem != nil)
        #expect(throws: RequestError.self) { try text.prompt(messages: .array([])) }
    }

    @Test("broken configuration files are named")
    func brokenFiles() throws {
        for name in ["tokenizer_config.json", "generation_config.json"] {
            let error = #expect(throws: ModelTextError.self) { try ModelText(files: files([name: "{"])) }
            #expect(error?.file.hasSuffix(name) == true)
        }
    }

    @Test("what the model recommends is read")
    func defaults() throws {
        let parameters = try ModelText(files: .demo).defaults.samplingParameters
        #expect(parameters.temperature == 0.7)
        #expect(parameters.topP == 0.9)
        #expect(parameters.topK == 40)
        #expect(parameters.minP == 0)
    }
}
