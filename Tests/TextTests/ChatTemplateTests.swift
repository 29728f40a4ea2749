import Foundation
import Support
import Testing
import Text

@Suite struct ChatTemplateTests {
    @Test("every recorded chat renders as the reference did")
    func recordedChats() throws {
        let golden = try TemplateValue(json: Golden.data("tokenizer/chat_templates.json"))
        let sources = try #require(golden["templates"])
        for (number, chat) in try #require(golden["cases"]?.array).enumerated() {
            let name = try #require(chat["template"]?.string)
            let shape = try #require(sources[name])
            var variables: [String: TemplateValue] = [:]
            for name in ["bos_token", "eos_token"] { variables[name] = shape[name] }
            for name in ["messages", "tools", "add_generation_prompt"] where chat[name] != .null {
                variables[name] = chat[name]
            }
            let source = try #require(shape["template"]?.string)
            let template = try ChatTemplate(source)
            expect(chat, Outcome { () throws(ChatTemplateError) in try template.render(variables) }, "case \(number)")
        }
    }

    @Test("templates in the shape of published ones render as Jinja does")
    func publishedShapes() throws {
        let conversations = try TemplateValue(json: Golden.data("chat-templates/conversations.json"))
        let cases = try TemplateValue(json: Golden.data("chat-templates/models.json"))
        for golden in try #require(cases.array) {
            let name = try #require(golden["template"]?.string)
            let source = try String(
                decoding: Golden.data("chat-templates/templates/\(name).jinja"), as: UTF8.self)
            let conversation = try #require(golden["conversation"]?.string)
            var variables = try #require(conversations[conversation]?.dictionary)
            variables["bos_token"] = .string("<s>")
            variables["eos_token"] = .string("</s>")
            let template = try ChatTemplate(source)
            expect(
                golden, Outcome { () throws(ChatTemplateError) in try template.render(variables) },
                "\(name), \(conversation)")
        }
    }

    @Test("each construct renders as Jinja does")
    func constructs() throws {
        let golden = try TemplateValue(json: Golden.data("chat-templates/constructs.json"))
        let variables = try #require(golden["variables"]?.dictionary)
        for construct in try #require(golden["cases"]?.array) {
            let source = try #require(construct["source"]?.string)
            let outcome = Outcome { () throws(ChatTemplateError) in try ChatTemplate(source).render(variables) }
            expect(construct, outcome, source)
        }
    }

    @Test("one template can render many times, and from many tasks")
    func reuse() async throws {
        let template = try ChatTemplate(
            "{% set ns = namespace(n=0) %}{% for i in xs %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}")
        await withTaskGroup(of: Bool.self) { group in
            for number in 0..<50 {
                group.addTask { (try? template.render(["xs": .array([.int(number), .int(1)])])) == String(number + 1) }
            }
            for await isRight in group { #expect(isRight) }
        }
    }

    @Test(
        "errors name the construct and its line",
        arguments: [
            ("{% extends 'x' %}", "line 1: '{% extends %}' is not expected here or not supported"),
            ("a\n{{ 1 | nonsense }}", "line 2: the filter 'nonsense' is not supported"),
            ("a\n\n{% if x is nonsense %}{% endif %}", "line 3: the test 'nonsense' is not supported"),
            ("{% for x in y recursive %}{% endfor %}", "line 1: 'recursive' loops are not supported"),
            ("{{ x }}\n{% if x %}\n", "line 2: expected '{% endif %}' before the end"),
            ("{{ x.y }}", "line 1: 'x' is undefined"),
            ("\n{{ none.x.y }}", "line 2: 'None' has no attribute 'x'"),
            ("{% for m in [{'a': 1}] %}\n{{ m.b.c }}{% endfor %}", "line 2: 'dict object' has no attribute 'b'"),
            ("{{ 'abc' }", "line 1: unexpected '}'"),
            ("{# x", "line 1: a comment is not closed with '#}'"),
            ("{{ f(*xs) }}", "line 1: '*' before an argument is not supported"),
            ("{{ 9223372036854775808 }}", "line 1: '9223372036854775808' is no integer of 64 bits"),
            ("{{ 'a' + 1 }}", "line 1: unsupported operand types for '+': 'str' and 'int'"),
            ("{{ raise_exception('as it is') }}", "as it is"),
        ])
    func messages(source: String, message: String) {
        #expect(Outcome { () throws(ChatTemplateError) in try ChatTemplate(source).render([:]) } == .failed(message))
    }

    @Test("a global name gives way to a variable of that name")
    func shadowing() throws {
        #expect(try ChatTemplate("{{ range }}").render(["range": .int(3)]) == "3")
    }

    @Test("the clock writes in the local time zone's year, and takes only what fits")
    func clock() throws {
        let year = try ChatTemplate("{{ strftime_now('%Y-%m-%d') }}").render([:])
        #expect(year.count == 10 && year.hasPrefix("2"))
        #expect(try ChatTemplate("{{ strftime_now('') }}|{{ strftime_now('100%%') }}").render([:]) == "|100%")
        #expect(throws: ChatTemplateError.self) { try ChatTemplate("{{ strftime_now('%9999d') }}").render([:]) }
    }

    private func expect(_ golden: TemplateValue, _ outcome: Outcome, _ name: String) {
        switch (golden["rendered"], golden["error"]) {
        case (.string(let text), _): #expect(outcome == .rendered(text), "\(name)")
        case (_, .string(let message)): #expect(outcome == .failed(message), "\(name)")
        default: if case .rendered(let text) = outcome { Issue.record("\(name): should fail, gave \(text)") }
        }
    }
}

/// What came of a rendering.
enum Outcome: Equatable {
    case rendered(String)
    case failed(String)

    init(_ render: () throws(ChatTemplateError) -> String) {
        do throws(ChatTemplateError) { self = .rendered(try render()) } catch { self = .failed(error.description) }
    }

    static func == (a: Outcome, b: Outcome) -> Bool {
        switch (a, b) {
        // By bytes: equality of `String` would not see a change of normalization.
        case (.rendered(let a), .rendered(let b)): Array(a.utf8) == Array(b.utf8)
        case (.failed(let a), .failed(let b)): a == b
        default: false
        }
    }
}

extension TemplateValue {
    subscript(name: String) -> TemplateValue? {
        guard case .object(let members) = self else { return nil }
        return members.first { $0.key == name }?.value
    }

    var array: [TemplateValue]? { if case .array(let items) = self { items } else { nil } }

    var string: String? { if case .string(let text) = self { text } else { nil } }

    var dictionary: [String: TemplateValue] {
        guard case .object(let members) = self else { return [:] }
        return Dictionary(members.map { ($0.key, $0.value) }, uniquingKeysWith: { $1 })
    }
}
