// TemplateFilters+Sequences: the filters of lists, and those that take another filter or a test by name.

extension TemplateEvaluator {
    func sequenceFilter(
        _ filter: TemplateFilter, _ value: TemplateDatum, _ bound: [TemplateDatum?]
    ) throws(ChatTemplateError) -> TemplateDatum {
        if case .reverse = filter, case .string(let text) = value { return try string(TemplateText.reversed(text)) }
        let items = try items(of: value)
        try spend(items.count * TemplateBudget.node / 4)
        switch filter {
        case .list: return try list(items)
        case .first: return items.first ?? .undefined(TemplateUndefined("the first item of an empty sequence"))
        case .last: return items.last ?? .undefined(TemplateUndefined("the last item of an empty sequence"))
        case .reverse: return try list(items.reversed())
        case .join: return try joined(items, bound)
        case .sort:
            let places = try sortedPlaces(
                try keys(items, bound[2], isCaseSensitive: bound[1]?.isTrue ?? false),
                isReversed: bound[0]?.isTrue ?? false)
            return try list(places.map { items[$0] })
        case .unique: return try unique(items, bound)
        case .dictsort: return try sortedPairs(value, bound)
        case .max, .min:
            let keys = try keys(items, bound[1], isCaseSensitive: bound[0]?.isTrue ?? false)
            let places = try sortedPlaces(keys, isReversed: filter == .max)
            return places.first.map { items[$0] } ?? .undefined(TemplateUndefined("the item of an empty sequence"))
        case .sum:
            var total = bound[1] ?? .int(0)
            for item in items { total = try arithmetic(total, .plus, try member(bound[0], of: item)) }
            return total
        case .batch: return try batches(items, bound)
        case .groupby: return try groups(items, bound)
        default: throw failure("the filter '\(filter.rawValue)' is not supported here")
        }
    }

    private func joined(_ items: [TemplateDatum], _ bound: [TemplateDatum?]) throws(ChatTemplateError) -> TemplateDatum
    {
        let separator = try bound[0].map { (value) throws(ChatTemplateError) in try text(of: value) } ?? ""
        var result = ""
        for (place, item) in items.enumerated() {
            try append(place > 0 ? separator : "", to: &result)
            try append(try text(of: try member(bound[1], of: item)), to: &result)
        }
        return .string(result)
    }

    // MARK: Order

    /// The part of `item` that `attribute` names: an index, a name, or names with dots; nil is the item itself.
    ///
    /// `fallback` stands for whatever is missing on the way.
    private func member(
        _ attribute: TemplateDatum?, of item: TemplateDatum, default fallback: TemplateDatum? = nil
    ) throws(ChatTemplateError) -> TemplateDatum {
        switch attribute {
        case nil, .some(.null): return item
        case .some(.string(let path)):
            var value = item
            for name in path.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false) {
                let name = TemplateText.decoded(name)
                value = try self.item(Int(name).map(TemplateDatum.int) ?? .string(name), of: value)
                if value.isUndefined, let fallback { value = fallback }
            }
            return value
        case .some(let index):
            let value = try self.item(index, of: item)
            return value.isUndefined ? fallback ?? value : value
        }
    }

    private func keys(
        _ items: [TemplateDatum], _ attribute: TemplateDatum?, isCaseSensitive: Bool
    ) throws(ChatTemplateError) -> [TemplateDatum] {
        var keys: [TemplateDatum] = []
        for item in items {
            let key = try member(attribute, of: item)
            if !isCaseSensitive, case .string(let text) = key {
                keys.append(try string(text.lowercased()))
            } else {
                keys.append(key)
            }
        }
        return keys
    }

    /// The places of `keys` in their order; equal keys stay as they are.
    func sortedPlaces(_ keys: [TemplateDatum], isReversed: Bool = false) throws(ChatTemplateError) -> [Int] {
        var problem: ChatTemplateError?
        let places = keys.indices.sorted { (left, right) in
            guard problem == nil else { return left < right }
            do throws(ChatTemplateError) {
                try spend(TemplateBudget.node)
                let (first, second) = isReversed ? (right, left) : (left, right)
                if try precedes(keys[first], keys[second], "<") { return true }
                return left < right ? !(try precedes(keys[second], keys[first], "<")) : false
            } catch {
                problem = error
                return left < right
            }
        }
        if let problem { throw problem }
        return places
    }

    private func unique(_ items: [TemplateDatum], _ bound: [TemplateDatum?]) throws(ChatTemplateError) -> TemplateDatum
    {
        var seen: Set<TemplateKey> = []
        var result: [TemplateDatum] = []
        for (item, key) in zip(items, try keys(items, bound[1], isCaseSensitive: bound[0]?.isTrue ?? false)) {
            guard let key = TemplateKey(key) else { throw failure("'unique' cannot compare '\(key.typeName)'") }
            if seen.insert(key).inserted { result.append(item) }
        }
        return try list(result)
    }

    private func sortedPairs(
        _ value: TemplateDatum, _ bound: [TemplateDatum?]
    ) throws(ChatTemplateError) -> TemplateDatum {
        guard case .dict(let dictionary) = value, case .list(let pairs) = try pairs(of: dictionary) else {
            throw failure("'dictsort' needs a dictionary, not '\(value.typeName)'")
        }
        let by = try optionalText(bound[1], "dictsort") ?? "key"
        guard by == "key" || by == "value" else { throw failure("'dictsort' sorts by 'key' or 'value'") }
        let keys = try keys(pairs.items, .int(by == "key" ? 0 : 1), isCaseSensitive: bound[0]?.isTrue ?? false)
        return try list(try sortedPlaces(keys, isReversed: bound[2]?.isTrue ?? false).map { pairs.items[$0] })
    }

    // MARK: Groups

    private func batches(
        _ items: [TemplateDatum], _ bound: [TemplateDatum?]
    ) throws(ChatTemplateError) -> TemplateDatum {
        guard let size = bound[0]?.wholeNumber, (1...TemplateBudget.maximumItems).contains(size) else {
            throw failure("'batch' needs a size from 1")
        }
        var result: [TemplateDatum] = []
        for start in stride(from: 0, to: items.count, by: size) {
            var batch = Array(items[start..<min(start + size, items.count)])
            if let filler = bound[1], !batch.isEmpty {
                batch.append(contentsOf: repeatElement(filler, count: size - batch.count))
            }
            result.append(try list(batch))
        }
        return try list(result)
    }

    /// Pairs of a key and the items that have it, in the order of the keys.
    private func groups(_ items: [TemplateDatum], _ bound: [TemplateDatum?]) throws(ChatTemplateError) -> TemplateDatum
    {
        var keys: [TemplateDatum] = []
        for item in items {
            keys.append(try member(bound[0], of: item, default: bound[1]))
        }
        var result: [(key: TemplateDatum, items: [TemplateDatum])] = []
        for place in try sortedPlaces(keys) {
            if let last = result.last, try isEqual(last.key, keys[place]) {
                result[result.count - 1].items.append(items[place])
            } else {
                result.append((keys[place], [items[place]]))
            }
        }
        var pairs: [TemplateDatum] = []
        for group in result { pairs.append(.tuple(try newList([group.key, try list(group.items)]))) }
        return try list(pairs)
    }

    // MARK: Filters and tests by name

    func variadic(
        _ filter: TemplateFilter, _ value: TemplateDatum, _ arguments: TemplateArguments
    ) throws(ChatTemplateError) -> TemplateDatum {
        switch filter {
        case .format:
            guard case .string(let format) = value else { throw failure("'format' needs a string") }
            return try string(try formatted(format, .tuple(try newList(arguments.positional))))
        case .map: return try mapped(value, arguments)
        default: return try selected(filter, value, arguments)
        }
    }

    private func mapped(
        _ value: TemplateDatum, _ arguments: TemplateArguments
    ) throws(ChatTemplateError) -> TemplateDatum {
        var arguments = arguments
        var result: [TemplateDatum] = []
        if arguments.positional.isEmpty {
            let bound = try bind(arguments, to: ["attribute", "default"], of: "map", required: 1)
            for item in try items(of: value) {
                try spend(TemplateBudget.node)
                result.append(try member(bound[0], of: item, default: bound[1]))
            }
            return try list(result)
        }
        guard case .string(let name) = arguments.positional.removeFirst(), let filter = TemplateFilter(rawValue: name)
        else { throw failure("'map' does not know this filter") }
        try enter()
        defer { leave() }
        for item in try items(of: value) {
            try spend(TemplateBudget.node)
            result.append(try self.filter(filter, item, arguments))
        }
        return try list(result)
    }

    private func selected(
        _ filter: TemplateFilter, _ value: TemplateDatum, _ arguments: TemplateArguments
    ) throws(ChatTemplateError) -> TemplateDatum {
        var arguments = arguments
        var attribute: TemplateDatum?
        if filter == .selectattr || filter == .rejectattr {
            guard !arguments.positional.isEmpty else { throw failure("'\(filter.rawValue)' needs an attribute") }
            attribute = arguments.positional.removeFirst()
        }
        var test: TemplateTest?
        if !arguments.positional.isEmpty {
            let name = try text(of: arguments.positional.removeFirst())
            test = TemplateTest(rawValue: name)
            guard test != nil else { throw failure("the test '\(name)' is not supported") }
        }
        let keeps = filter == .select || filter == .selectattr
        var result: [TemplateDatum] = []
        for item in try items(of: value) {
            try spend(TemplateBudget.node)
            let part = try member(attribute, of: item)
            let holds = if let test { try self.test(test, part, arguments) } else { part.isTrue }
            if holds == keeps { result.append(item) }
        }
        return try list(result)
    }
}
