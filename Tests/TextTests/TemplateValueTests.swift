import Testing
import Text

@Suite struct TemplateValueTests {
    private func parse(_ json: String) throws -> TemplateValue { try TemplateValue(json: json.utf8) }

    @Test("keys keep their order, numbers their kind")
    func document() throws {
        let value = try parse(#" {"b": [1, 1.0, -0, 1e2, -2.5E-1, true, false, null], "a": {"": "x"}} "#)
        #expect(
            value
                == .object([
                    (
                        "b",
                        .array([
                            .int(1), .double(1), .int(0), .double(100), .double(-0.25), .bool(true), .bool(false),
                            .null,
                        ])
                    ),
                    ("a", .object([("", .string("x"))])),
                ]))
    }

    @Test("whole numbers end at 64 bits and go on as doubles")
    func limits() throws {
        #expect(try parse("9223372036854775807") == .int(.max))
        #expect(try parse("-9223372036854775808") == .int(.min))
        #expect(try parse("9223372036854775808") == .double(9_223_372_036_854_775_808))
    }

    @Test(
        "escapes and surrogate pairs",
        arguments: [
            (#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{C}\n\r\t"), (#""\u00e9\u4F60\ud83d\ude00""#, "é你😀"),
            (#""ä😀""#, "ä😀"),
            (#""\u0000""#, "\0"), (#""""#, ""),
        ])
    func strings(json: String, text: String) throws { #expect(try parse(json) == .string(text)) }

    @Test("a repeated key keeps its first place and its last value")
    func repeatedKeys() throws {
        #expect(try parse(#"{"a": 1, "b": 2, "a": 3}"#) == .object([("a", .int(3)), ("b", .int(2))]))
        // Canonically equivalent keys are two keys.
        #expect(try parse(#"{"\u00e9": 1, "e\u0301": 2}"#) == .object([("\u{E9}", .int(1)), ("e\u{301}", .int(2))]))
    }

    @Test(
        "what is not JSON is refused",
        arguments: [
            "", " ", "{", "[", "[1,]", "[1 2]", "{\"a\"}", "{\"a\":}", "{a:1}", "{\"a\":1,}", "01", "1.", ".5", "+1",
            "1e",
            "-", "NaN", "Infinity", "1e999", "nul", "truex", "'a'", "\"a", "\"\\x\"", "\"\\u12\"", "\"\\ud83d\"",
            "\"\\ud83dx\"", "\"\\ud83d\\u0041\"", "\"\\ude00\"", "\"\n\"", "1 2", "\u{FEFF}1", "[1]]", "\"\\", "\"\\u",
        ])
    func refusals(json: String) { #expect(throws: ChatTemplateError.self) { try parse(json) } }

    @Test(
        "invalid UTF-8 is refused",
        arguments: [
            [0x22, 0xFF, 0x22], [0x22, 0xC3, 0x22], [0x22, 0xED, 0xA0, 0x80, 0x22], [0x22, 0xC0, 0x80, 0x22],
        ] as [[UInt8]])
    func invalidText(bytes: [UInt8]) { #expect(throws: ChatTemplateError.self) { try TemplateValue(json: bytes) } }

    @Test("nesting is limited to 512")
    func nesting() throws {
        func nested(_ depth: Int) -> String {
            String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
        }
        let deepest = try parse(nested(512))
        #expect(try ChatTemplate("{{ x | tojson }}").render(["x": deepest]) == nested(512))
        #expect(try ChatTemplate("{{ x }}{{ x == x }}").render(["x": deepest]) == nested(512) + "True")
        #expect(throws: ChatTemplateError.self) { try parse(nested(513)) }
        #expect(throws: ChatTemplateError.self) { try parse(String(repeating: "[", count: 1_000_000)) }
        #expect(throws: ChatTemplateError.self) { try parse(String(repeating: "{\"a\":", count: 1_000_000)) }
    }

    @Test("equality sees what rendering would")
    func equality() {
        #expect(TemplateValue.int(1) != .double(1))
        #expect(TemplateValue.bool(true) != .int(1))
        #expect(TemplateValue.null != .bool(false))
        #expect(TemplateValue.string("\u{E9}") != .string("e\u{301}"))
        #expect(TemplateValue.object([("a", .null), ("b", .null)]) != .object([("b", .null), ("a", .null)]))
        #expect(TemplateValue.object([("a", .array([.int(1)]))]) == .object([("a", .array([.int(1)]))]))
        #expect(TemplateValue.array([.null]) != .array([]))
    }
}
