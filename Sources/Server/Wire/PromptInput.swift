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
            self.init(prompts: try [[TokenID]](from: decoder).map { .ids($0.map(\.id)) }, isList: true)
        } else if (try? list.decode(String.self)) != nil {
            self.init(prompts: try [String](from: decoder).map { .text($0) }, isList: true)
        } else {
            self.init(prompts: [.ids(try [TokenID](from: decoder).map(\.id))], isList: false)
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
        lists = (isList ? try [[TokenID]](from: decoder) : [try [TokenID](from: decoder)]).map { $0.map(\.id) }
    }
}

/// A token id; one that no vocabulary could have is refused by name.
struct TokenID: Decodable, Sendable {
    var id: Int32

    init(from decoder: any Decoder) throws {
        let number = try Int(from: decoder)
        guard let id = Int32(exactly: number) else {
            let path = decoder.codingPath.dotted
            throw RequestError("\(path) is \(number), which is no token id.", field: path)
        }
        self.id = id
    }
}
