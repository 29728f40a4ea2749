// ModelText: the text side of a model: its tokenizer, its chat templates and what its authors recommend.

internal import Compute
public import Models
public import Text

#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

/// The text side of a model.
public struct ModelText: Sendable {
    /// Characters to ids and back.
    public let tokenizer: Tokenizer
    /// What the model recommends for sampling.
    public let defaults: GenerationDefaults
    /// Why the chat template cannot be used; nil when there is none, or all is well.
    public let templateProblem: String?
    private let templates: [String: ChatTemplate]
    private let specialTokens: [String: String]

    /// Reads `tokenizer.json`, `tokenizer_config.json`, `chat_template.jinja` and `generation_config.json`.
    ///
    /// A template that cannot be parsed is no error here: the model can still continue plain text.
    /// - Throws: `ModelTextError`, or the reader's own error, when a file is missing or broken.
    public init(files: ModelFiles) throws {
        guard let mapped = try files.bytes("tokenizer.json") else {
            throw ModelTextError(
                file: files.location(of: "tokenizer.json"),
                reason: "no such file; the model folder needs the tokenizer in Hugging Face's tokenizer.json format")
        }
        do throws(TokenizerError) {
            tokenizer = try Tokenizer(tokenizerJSON: mapped.bytes)
        } catch {
            throw ModelTextError(file: files.location(of: "tokenizer.json"), reason: error.description)
        }
        withExtendedLifetime(mapped) {}
        defaults = try GenerationDefaults(files: files)

        let file = try TokenizerConfiguration(files: files)
        var sources = file.templates
        if let jinja = try files.bytes("chat_template.jinja") {
            sources["default"] = String(decoding: jinja.bytes, as: UTF8.self)
        }
        var parsed: [String: ChatTemplate] = [:]
        var problem: String?
        for (name, source) in sources {
            do throws(ChatTemplateError) {
                parsed[name] = try ChatTemplate(source)
            } catch {
                problem = "The chat template \"\(name)\" of \(files.path) cannot be used: \(error.description)"
            }
        }
        templates = parsed
        templateProblem = problem
        specialTokens = file.specialTokens
    }

    /// The prompt for a conversation.
    ///
    /// - Parameters:
    ///   - messages: an array of objects with `role` and `content`.
    ///   - tools: an array of tool descriptions, or null.
    ///   - extra: further variables, from `chat_template_kwargs`.
    /// - Returns: text that holds its special tokens already.
    /// - Throws: `RequestError` when the model has no usable template or the template refuses the messages.
    public func prompt(
        messages: TemplateValue, tools: TemplateValue = .null, extra: [String: TemplateValue] = [:]
    ) throws(RequestError) -> String {
        let named = tools == .null ? nil : templates["tool_use"]
        guard let template = named ?? templates["default"] else {
            throw RequestError(
                templateProblem
                    ?? "The model has no chat template: send a plain prompt to /v1/completions or /generate.",
                field: "messages")
        }
        var variables: [String: TemplateValue] = ["messages": messages, "tools": tools]
        variables["add_generation_prompt"] = .bool(true)
        for (name, content) in specialTokens { variables[name] = .string(content) }
        variables.merge(extra) { _, asked in asked }
        do throws(ChatTemplateError) {
            return try template.render(variables)
        } catch {
            throw RequestError("The chat template refuses the messages: \(error.description)", field: "messages")
        }
    }
}

/// A text file of a model that is missing or cannot be used.
public struct ModelTextError: Error, Equatable, CustomStringConvertible {
    /// Where the file is or would be.
    public var file: String
    /// What is wrong, and what to do.
    public var reason: String

    /// The file and what is wrong with it.
    public var description: String { "\(file): \(reason)" }
}

/// What we use of `tokenizer_config.json`.
private struct TokenizerConfiguration {
    /// Template sources by name; a lone template is called `default`.
    var templates: [String: String] = [:]
    /// `bos_token`, `eos_token`, … by name.
    var specialTokens: [String: String] = [:]

    init(files: ModelFiles) throws {
        let name = "tokenizer_config.json"
        guard let mapped = try files.bytes(name) else { return }
        do {
            let file = try JSONDecoder().decode(File.self, from: Data(mapped.bytes))
            switch file.chatTemplate {
            case .one(let source): templates["default"] = source
            case .named(let list): for item in list { templates[item.name] = item.template }
            case nil: break
            }
            specialTokens["bos_token"] = file.bosToken?.content
            specialTokens["eos_token"] = file.eosToken?.content
            specialTokens["pad_token"] = file.padToken?.content
            specialTokens["unk_token"] = file.unkToken?.content
        } catch {
            throw ModelTextError(file: files.location(of: name), reason: RequestFailure(error).message)
        }
    }

    private struct File: Decodable {
        var chatTemplate: Template?
        var bosToken: Token?
        var eosToken: Token?
        var padToken: Token?
        var unkToken: Token?

        enum CodingKeys: String, CodingKey {
            case chatTemplate = "chat_template"
            case bosToken = "bos_token"
            case eosToken = "eos_token"
            case padToken = "pad_token"
            case unkToken = "unk_token"
        }
    }

    private enum Template: Decodable {
        case one(String)
        case named([Named])

        struct Named: Decodable {
            var name: String
            var template: String
        }

        init(from decoder: any Decoder) throws {
            if (try? decoder.unkeyedContainer()) != nil {
                self = .named(try [Named](from: decoder))
            } else {
                self = .one(try String(from: decoder))
            }
        }
    }

    /// A token as a string, or as an object with `content`.
    private struct Token: Decodable {
        var content: String

        enum CodingKeys: CodingKey { case content }

        init(from decoder: any Decoder) throws {
            if let container = try? decoder.container(keyedBy: CodingKeys.self) {
                content = try container.decode(String.self, forKey: .content)
            } else {
                content = try String(from: decoder)
            }
        }
    }
}
