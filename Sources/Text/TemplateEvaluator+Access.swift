// TemplateEvaluator+Access: attributes, items, slices, and what a loop sees of a value.

extension TemplateEvaluator {
    /// `value.name`: a method first, then an item, as Jinja looks them up; what is missing is undefined.
    func attribute(
        _ name: String, _ method: TemplateMethod?, of value: TemplateDatum
    ) throws(ChatTemplateError) -> TemplateDatum {
        if let method, method.belongs(to: value) { return .method(TemplateBoundMethod(method, of: value)) }
        switch value {
        case .undefined(let undefined): throw failure(undefined.message)
        case .dict(let dictionary): if let value = dictionary[name] { return value }
        case .namespace(let namespace): if let value = namespace[name] { return value }
        case .loop(let loop): if let value = attribute(name, of: loop) { return value }
        case .macro(let macro): if name == "name" { return .string(macro.syntax.name) }
        default: break
        }
        return .undefined(TemplateUndefined(name, of: value.typeName))
    }

    private func attribute(_ name: String, of loop: TemplateLoop) -> TemplateDatum? {
        switch name {
        case "index": .int(loop.index + 1)
        case "index0": .int(loop.index)
        case "revindex": .int(loop.length - loop.index)
        case "revindex0": .int(loop.length - loop.index - 1)
        case "first": .bool(loop.index == 0)
        case "last": .bool(loop.index == loop.length - 1)
        case "length": .int(loop.length)
        // Only recursive loops go deeper, and there are none here.
        case "depth": .int(1)
        case "depth0": .int(0)
        case "previtem": loop.neighbour(-1)
        case "nextitem": loop.neighbour(1)
        default: nil
        }
    }

    /// `value[index]`: an item first, then an attribute; what is missing is undefined.
    func item(_ index: TemplateDatum, of value: TemplateDatum) throws(ChatTemplateError) -> TemplateDatum {
        switch (value, index) {
        case (.undefined(let undefined), _): throw failure(undefined.message)
        case (.dict(let dictionary), _): if let value = dictionary[index] { return value }
        case (.list(let list), _), (.tuple(let list), _):
            if let place = place(index, count: list.items.count) { return list.items[place] }
        case (.string(let text), .int), (.string(let text), .bool):
            try spend(text.utf8.count)
            let scalars = text.unicodeScalars
            if let place = place(index, count: scalars.count) {
                return .string(String(scalars[scalars.index(scalars.startIndex, offsetBy: place)]))
            }
        default: break
        }
        guard case .string(let name) = index else {
            return .undefined(TemplateUndefined(try representation(of: index), of: value.typeName, isElement: true))
        }
        if case .dict = value, TemplateMethod(rawValue: name) == nil {
            return .undefined(TemplateUndefined(name, of: value.typeName))
        }
        return try attribute(name, TemplateMethod(rawValue: name), of: value)
    }

    private func place(_ index: TemplateDatum, count: Int) -> Int? {
        guard let number = index.wholeNumber, number >= -count, number < count else { return nil }
        return number < 0 ? number + count : number
    }

    func slice(
        _ value: TemplateDatum, _ start: Int?, _ end: Int?, _ stride: Int?
    ) throws(ChatTemplateError) -> TemplateDatum {
        guard stride != 0 else { throw failure("a slice cannot have the step 0") }
        switch value {
        case .undefined(let undefined): throw failure(undefined.message)
        case .string(let text):
            try spend(text.utf8.count)
            let scalars = Array(text.unicodeScalars)
            var result = String.UnicodeScalarView()
            for place in places(scalars.count, start, end, stride ?? 1) { result.append(scalars[place]) }
            return try string(String(result))
        case .list(let list), .tuple(let list):
            let items = places(list.items.count, start, end, stride ?? 1).map { list.items[$0] }
            if case .tuple = value { return .tuple(try newList(items)) }
            return try self.list(items)
        default: throw failure("'\(value.typeName)' cannot be sliced")
        }
    }

    /// The places that a Python slice takes of `count` items.
    private func places(_ count: Int, _ start: Int?, _ end: Int?, _ stride: Int) -> StrideTo<Int> {
        let (low, high) = stride > 0 ? (0, count) : (-1, count - 1)
        func clamped(_ bound: Int) -> Int { min(max(bound < 0 ? bound + count : bound, low), high) }
        let first = start.map(clamped) ?? (stride > 0 ? low : high)
        let last = end.map(clamped) ?? (stride > 0 ? high : low)
        // A stride longer than the list takes one item; the clamp keeps the sum of both from overflowing.
        return Swift.stride(from: first, to: last, by: min(max(stride, -count - 1), count + 1))
    }

    /// What a loop over `value` gives.
    func items(of value: TemplateDatum) throws(ChatTemplateError) -> [TemplateDatum] {
        switch value {
        case .undefined: return []
        case .list(let list), .tuple(let list): return list.items
        case .dict(let dictionary): return dictionary.keys
        case .string(let text):
            try checkCount(text.utf8.count)
            return text.unicodeScalars.map { .string(String($0)) }
        default: throw failure("'\(value.typeName)' is not iterable")
        }
    }
}
