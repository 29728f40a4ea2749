// ChatMessages: brings messages into the shape that chat templates expect.

internal import Text

/// Brings messages into the shape that chat templates expect.
enum ChatMessages {
    /// Messages with a string for `content` and an object for each tool call's `arguments`.
    ///
    /// - Throws: `RequestError` naming the message and field at fault.
    static func normalized(_ messages: TemplateValue?) throws(RequestError) -> TemplateValue {
        guard let messages, messages != .null else {
            throw RequestError("messages is missing: send a list of messages.", field: "messages")
        }
        guard case .array(let list) = messages else {
            throw RequestError("messages must be a list of messages.", field: "messages")
        }
        guard !list.isEmpty else {
            throw RequestError("messages is empty: send at least one message.", field: "messages")
        }
        var result: [TemplateValue] = []
        for (index, message) in list.enumerated() {
            result.append(try normalized(message, at: "messages[\(index)]"))
        }
        return .array(result)
    }

    private static func normalized(_ message: TemplateValue, at path: String) throws(RequestError) -> TemplateValue {
        guard case .object(let pairs) = message else {
            throw RequestError("\(path) must be an object with role and content.", field: path)
        }
        guard case .string? = message["role"] else {
            throw RequestError(
                "\(path).role is missing or no string: send system, user, assistant or tool.", field: path + ".role")
        }
        var result: [(key: String, value: TemplateValue)] = []
        for (key, value) in pairs {
            switch key {
            case "content": result.append((key, .string(try contentText(value, at: path + ".content"))))
            case "tool_calls": result.append((key, try toolCalls(value)))
            default: result.append((key, value))
            }
        }
        if message["content"] == nil { result.append(("content", .string(""))) }
        return .object(result)
    }

    /// A string as it is, a list of text parts joined with spaces.
    private static func contentText(_ content: TemplateValue, at path: String) throws(RequestError) -> String {
        switch content {
        case .null: return ""
        case .string(let text): return text
        case .array(let parts):
            var texts: [String] = []
            for (index, part) in parts.enumerated() {
                guard part["type"] == .string("text"), case .string(let text)? = part["text"] else {
                    let found = if case .string(let type)? = part["type"] { "\"\(type)\"" } else { "something else" }
                    throw RequestError(
                        "\(path)[\(index)] is \(found), but this version reads parts of type \"text\" only.",
                        field: "\(path)[\(index)]")
                }
                texts.append(text)
            }
            return texts.joined(separator: " ")
        default: throw RequestError("\(path) must be a string or a list of text parts.", field: path)
        }
    }

    /// Clients send `arguments` as JSON text; templates want the object.
    private static func toolCalls(_ calls: TemplateValue) throws(RequestError) -> TemplateValue {
        guard case .array(let list) = calls else { return calls }
        var result: [TemplateValue] = []
        for call in list {
            result.append(
                try call.replacing("function") { (function) throws(RequestError) in
                    try function.replacing("arguments") { (arguments) throws(RequestError) in
                        guard case .string(let text) = arguments else { return arguments }
                        return (try? TemplateValue(json: text.utf8)) ?? arguments
                    }
                })
        }
        return .array(result)
    }
}

extension TemplateValue {
    /// The value of `key`; nil when there is none or this is no object.
    subscript(key: String) -> TemplateValue? {
        guard case .object(let pairs) = self else { return nil }
        return pairs.first { $0.key == key }?.value
    }

    /// A copy with the value of `key` changed, if there is one.
    fileprivate func replacing(
        _ key: String, with change: (TemplateValue) throws(RequestError) -> TemplateValue
    ) throws(RequestError) -> TemplateValue {
        guard case .object(var pairs) = self, let index = pairs.firstIndex(where: { $0.key == key }) else {
            return self
        }
        pairs[index].value = try change(pairs[index].value)
        return .object(pairs)
    }
}
