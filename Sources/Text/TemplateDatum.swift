// TemplateDatum: a value while a template runs.
//
// Owner: one evaluator; nothing here leaves its rendering. Lists are references, as in Python, since `append` must be
// seen by all who hold the list. What can come to hold itself (appended lists, namespaces, captured scopes) is kept by
// the evaluator and emptied at the end, so that no chain of references is ever freed by deep recursion.

enum TemplateDatum {
    case undefined(TemplateUndefined)
    case null
    case bool(Bool)
    case int(Int)
    case double(Double)
    case string(String)
    case list(TemplateList)
    case tuple(TemplateList)
    case dict(TemplateDictionary)
    case namespace(TemplateNamespace)
    case loop(TemplateLoop)
    case macro(TemplateMacro)
    case function(TemplateFunction)
    case method(TemplateBoundMethod)

    /// How deep lists and dictionaries are nested in this value.
    var depth: Int {
        switch self {
        case .list(let list), .tuple(let list): list.depth
        case .dict(let dictionary): dictionary.depth
        case .method(let method): method.receiver.depth
        default: 0
        }
    }

    /// Python's truth.
    var isTrue: Bool {
        switch self {
        case .undefined, .null: false
        case .bool(let value): value
        case .int(let value): value != 0
        case .double(let value): value != 0
        case .string(let text): !text.isEmpty
        case .list(let list), .tuple(let list): !list.items.isEmpty
        case .dict(let dictionary): !dictionary.keys.isEmpty
        case .namespace, .loop, .macro, .function, .method: true
        }
    }

    var isUndefined: Bool { if case .undefined = self { true } else { false } }

    /// Booleans count as 0 and 1.
    var wholeNumber: Int? {
        switch self {
        case .bool(let value): value ? 1 : 0
        case .int(let value): value
        default: nil
        }
    }

    /// Python's name for the type.
    var typeName: String {
        switch self {
        case .undefined: "Undefined"
        case .null: "NoneType"
        case .bool: "bool"
        case .int: "int"
        case .double: "float"
        case .string: "str"
        case .list: "list"
        case .tuple: "tuple"
        case .dict: "dict"
        case .namespace: "Namespace"
        case .loop: "LoopContext"
        case .macro: "Macro"
        case .function: "function"
        case .method: "builtin_function_or_method"
        }
    }
}

/// A missing variable, attribute or item; the message is made only when somebody needs it.
final class TemplateUndefined {
    private let owner: String?
    private let name: String
    private let isElement: Bool

    /// A missing variable.
    init(_ name: String) { (owner, self.name, isElement) = (nil, name, false) }

    /// What `owner`, a type's name, does not have.
    init(_ name: String, of owner: String, isElement: Bool = false) {
        (self.owner, self.name, self.isElement) = (owner == "NoneType" ? "None" : owner + " object", name, isElement)
    }

    var message: String {
        guard let owner else { return "'\(name)' is undefined" }
        return isElement ? "\(owner) has no element \(name)" : "'\(owner)' has no attribute '\(name)'"
    }
}

final class TemplateList {
    private(set) var items: [TemplateDatum]
    private(set) var depth: Int
    /// Whether the evaluator keeps this list, since it was appended to.
    var isKept = false

    init(_ items: [TemplateDatum]) {
        self.items = items
        depth = 1 + (items.lazy.map(\.depth).max() ?? 0)
    }

    func append(_ item: TemplateDatum) {
        items.append(item)
        depth = max(depth, item.depth + 1)
    }

    func removeAll() { items = [] }
}

/// What makes keys equal: `True`, `1` and `1.0` are one key.
enum TemplateKey: Hashable {
    case null
    case text(String)
    case int(Int)
    case double(Double)

    static func == (a: Self, b: Self) -> Bool {
        switch (a, b) {
        case (.null, .null): true
        case (.text(let a), .text(let b)): TemplateText.isSame(a, b)
        case (.int(let a), .int(let b)): a == b
        case (.double(let a), .double(let b)): a == b
        default: false
        }
    }

    func hash(into hasher: inout Hasher) {
        switch self {
        case .null: hasher.combine(0)
        case .text(let text): hasher.combine(text)
        case .int(let value): hasher.combine(value)
        case .double(let value): hasher.combine(value)
        }
    }

    /// Nil for what cannot be a key.
    init?(_ value: TemplateDatum) {
        switch value {
        case .null: self = .null
        case .bool(let value): self = .int(value ? 1 : 0)
        case .int(let value): self = .int(value)
        case .double(let value): self = Int(exactly: value).map(TemplateKey.int) ?? .double(value)
        case .string(let text): self = .text(text)
        default: return nil
        }
    }
}

/// A dictionary in order of insertion.
final class TemplateDictionary {
    let keys: [TemplateDatum]
    let values: [TemplateDatum]
    let depth: Int
    /// Only for many keys: few are found faster one by one.
    private let places: [TemplateKey: Int]

    /// Of equal keys the last value counts, at the place of the first. Keys must be possible ones.
    init(_ members: [(key: TemplateDatum, value: TemplateDatum)]) {
        var keys: [TemplateDatum] = []
        var values: [TemplateDatum] = []
        var places: [TemplateKey: Int] = [:]
        keys.reserveCapacity(members.count)
        values.reserveCapacity(members.count)
        for member in members {
            guard let key = TemplateKey(member.key) else { continue }
            if let place = places[key] {
                values[place] = member.value
            } else {
                places[key] = keys.count
                keys.append(member.key)
                values.append(member.value)
            }
        }
        self.keys = keys
        self.values = values
        self.places = places
        depth = 1 + (values.lazy.map(\.depth).max() ?? 0)
    }

    subscript(key: TemplateDatum) -> TemplateDatum? {
        guard let key = TemplateKey(key), let place = places[key] else { return nil }
        return values[place]
    }

    subscript(name: String) -> TemplateDatum? {
        guard keys.count <= 8 else { return places[.text(name)].map { values[$0] } }
        for (place, key) in keys.enumerated() {
            if case .string(let text) = key, TemplateText.isSame(text, name) { return values[place] }
        }
        return nil
    }
}

/// What `namespace()` makes: attributes that inner scopes can set.
final class TemplateNamespace {
    private(set) var attributes: [(name: String, value: TemplateDatum)] = []

    subscript(name: String) -> TemplateDatum? {
        get { attributes.first { TemplateText.isSame($0.name, name) }?.value }
        set {
            guard let newValue else { return }
            if let place = attributes.firstIndex(where: { TemplateText.isSame($0.name, name) }) {
                attributes[place].value = newValue
            } else {
                attributes.append((name, newValue))
            }
        }
    }

    func removeAll() { attributes = [] }
}

/// What `loop` is inside a loop.
final class TemplateLoop {
    private var items: [TemplateDatum]
    let length: Int
    var index = 0
    /// The arguments of the last `loop.changed()`.
    var watched: TemplateDatum?

    init(_ items: [TemplateDatum]) {
        self.items = items
        length = items.count
    }

    /// The item `offset` places from the present one.
    func neighbour(_ offset: Int) -> TemplateDatum? {
        items.indices.contains(index + offset) ? items[index + offset] : nil
    }

    /// Lets go of the items when the loop is over.
    func end() {
        items = []
        watched = nil
    }
}

/// A macro with the scope it was defined in.
final class TemplateMacro {
    let syntax: TemplateMacroSyntax
    let scope: TemplateScope

    init(_ syntax: TemplateMacroSyntax, in scope: TemplateScope) {
        self.syntax = syntax
        self.scope = scope
    }
}

/// A method taken from its object but not called yet.
final class TemplateBoundMethod {
    let receiver: TemplateDatum
    let method: TemplateMethod

    init(_ method: TemplateMethod, of receiver: TemplateDatum) {
        self.receiver = receiver
        self.method = method
    }
}
