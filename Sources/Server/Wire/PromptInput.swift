// PromptInput: prompts as text or ids, one or many, told apart by their JSON shape.

/// One or several prompts.
struct PromptInput: Decodable, Sendable {
    /// The prompts, in order.
    var prompts: [TextRequest.Prompt]
    /// Whether they came as a list of prompts.
    var isList: Bool

    init(prompts: [TextRequest.Prompt], isList: Bool) {
        self.prompts = prompts
        self.isList = isList
    }

    /// A string, a list of strings, a list of ids, or a list of lists of ids.
    init(from decoder: any Decoder) throws {
        guard var list = try? decoder.unkeyedContainer() else {
            self.init(prompts: [.text(try String(from: decoder))], isList: false)
            return
        }
        if list.isAtEnd {
            self.init(prompts: [], isList: true)
        } else if (try? list.nestedUnkeyedContainer()) != nil {
            self.init(prompts: try [[Int32]](from: decoder).map { .ids($0) }, isList: true)
        } else if (try? list.decode(String.self)) != nil {
            self.init(prompts: try [String](from: decoder).map { .text($0) }, isList: true)
        } else {
            self.init(prompts: [.ids(try [Int32](from: decoder))], isList: false)
        }
    }
}

/// Ids, or lists of ids, one per item of a batch.
struct TokenLists: Decodable, Sendable {
    var lists: [[Int32]]
    var isList: Bool

    init(from decoder: any Decoder) throws {
        var list = try decoder.unkeyedContainer()
        isList = (try? list.nestedUnkeyedContainer()) != nil
        lists = isList ? try [[Int32]](from: decoder) : [try [Int32](from: decoder)]
    }
}
