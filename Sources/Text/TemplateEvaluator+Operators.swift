// TemplateEvaluator+Operators: arithmetic and comparison as in Python, except that integers end at 64 bits.

extension TemplateEvaluator {
    // MARK: Arithmetic

    func negated(_ value: TemplateDatum) throws(ChatTemplateError) -> TemplateDatum {
        if case .double(let number) = value { return .double(-number) }
        return try arithmetic(.int(0), .minus, value)
    }

    func arithmetic(
        _ left: TemplateDatum, _ mark: TemplateMark, _ right: TemplateDatum
    ) throws(ChatTemplateError) -> TemplateDatum {
        switch (mark, left, right) {
        case (_, .undefined(let value), _), (_, _, .undefined(let value)): throw failure(value.message)
        case (.plus, .string(let a), .string(let b)):
            try checkLength(a.utf8.count + b.utf8.count)
            return .string(a + b)
        case (.plus, .list(let a), .list(let b)): return try list(a.items + b.items)
        case (.plus, .tuple(let a), .tuple(let b)): return .tuple(try newList(a.items + b.items))
        case (.times, .string(let text), let count), (.times, let count, .string(let text)):
            guard let count = count.wholeNumber else { break }
            let (bytes, overflows) = text.utf8.count.multipliedReportingOverflow(by: max(0, count))
            try checkLength(overflows ? .max : bytes)
            return .string(String(repeating: text, count: text.isEmpty ? 0 : max(0, count)))
        case (.times, .list(let items), let count), (.times, let count, .list(let items)):
            guard let count = count.wholeNumber else { break }
            let (total, overflows) = items.items.count.multipliedReportingOverflow(by: max(0, count))
            try checkCount(overflows ? .max : total)
            return try list(total == 0 ? [] : Array(repeatElement(items.items, count: count).joined()))
        case (.modulo, .string(let format), _): return try string(try formatted(format, right))
        default: break
        }
        if let a = left.wholeNumber, let b = right.wholeNumber { return try arithmetic(a, mark, b) }
        guard let a = number(left), let b = number(right) else {
            throw failure(
                "unsupported operand types for '\(mark.rawValue)': '\(left.typeName)' and '\(right.typeName)'")
        }
        return .double(try arithmetic(a, mark, b))
    }

    private func number(_ value: TemplateDatum) -> Double? {
        if case .double(let number) = value { return number }
        return value.wholeNumber.map(Double.init)
    }

    private func arithmetic(_ a: Int, _ mark: TemplateMark, _ b: Int) throws(ChatTemplateError) -> TemplateDatum {
        var result: (partialValue: Int, overflow: Bool)
        switch mark {
        case .plus: result = a.addingReportingOverflow(b)
        case .minus: result = a.subtractingReportingOverflow(b)
        case .times: result = a.multipliedReportingOverflow(by: b)
        case .power where b >= 0: result = power(a, b)
        case .floorDivide where b != 0:
            result = a.dividedReportingOverflow(by: b)
            // Swift rounds to zero, Python down.
            if !result.overflow, result.partialValue * b != a, (a < 0) != (b < 0) { result.partialValue -= 1 }
        case .modulo where b != 0:
            result = a.remainderReportingOverflow(dividingBy: b)
            if result.overflow { return .int(0) }
            if result.partialValue != 0, (result.partialValue < 0) != (b < 0) { result.partialValue += b }
        default: return .double(try arithmetic(Double(a), mark, Double(b)))
        }
        guard !result.overflow else { throw failure("the result of '\(mark.rawValue)' does not fit 64 bits") }
        return .int(result.partialValue)
    }

    private func power(_ base: Int, _ exponent: Int) -> (partialValue: Int, overflow: Bool) {
        var (result, square, exponent) = (1, base, exponent)
        while exponent > 0 {
            if exponent & 1 == 1 {
                let (product, overflows) = result.multipliedReportingOverflow(by: square)
                if overflows { return (0, true) }
                result = product
            }
            exponent >>= 1
            if exponent > 0 {
                let (product, overflows) = square.multipliedReportingOverflow(by: square)
                if overflows { return (0, true) }
                square = product
            }
        }
        return (result, false)
    }

    private func arithmetic(_ a: Double, _ mark: TemplateMark, _ b: Double) throws(ChatTemplateError) -> Double {
        switch mark {
        case .plus: return a + b
        case .minus: return a - b
        case .times: return a * b
        case .power: return TemplateNumber.power(a, b)
        default: break
        }
        guard b != 0 else { throw failure("division by zero") }
        switch mark {
        case .divide: return a / b
        case .floorDivide: return (a / b).rounded(.down)
        default:
            let remainder = a.truncatingRemainder(dividingBy: b)
            return remainder != 0 && (remainder < 0) != (b < 0) ? remainder + b : remainder
        }
    }

    // MARK: Comparison

    func holds(
        _ left: TemplateDatum, _ relation: TemplateRelation, _ right: TemplateDatum
    ) throws(ChatTemplateError) -> Bool {
        switch relation {
        case .equal: return try isEqual(left, right)
        case .notEqual: return !(try isEqual(left, right))
        case .less: return try precedes(left, right, "<")
        case .greater: return try precedes(right, left, ">")
        // Not the negation of the opposite, which would be wrong for NaN.
        case .lessOrEqual: return try precedes(left, right, "<=") ? true : isEqual(left, right)
        case .greaterOrEqual: return try precedes(right, left, ">=") ? true : isEqual(left, right)
        case .isIn: return try contains(right, left)
        case .isNotIn: return !(try contains(right, left))
        }
    }

    func isEqual(_ left: TemplateDatum, _ right: TemplateDatum) throws(ChatTemplateError) -> Bool {
        switch (left, right) {
        case (.undefined, .undefined), (.null, .null): return true
        case (.string(let a), .string(let b)):
            try spend(min(a.utf8.count, b.utf8.count))
            return TemplateText.isSame(a, b)
        case (.list(let a), .list(let b)), (.tuple(let a), .tuple(let b)): return try isEqual(a.items, b.items)
        case (.dict(let a), .dict(let b)):
            guard a.keys.count == b.keys.count else { return false }
            for (key, value) in zip(a.keys, a.values) {
                guard let other = b[key], try isEqual([value], [other]) else { return false }
            }
            return true
        case (.namespace(let a), .namespace(let b)): return a === b
        case (.macro(let a), .macro(let b)): return a === b
        case (.loop(let a), .loop(let b)): return a === b
        case (.function(let a), .function(let b)): return a == b
        default:
            if let a = left.wholeNumber, let b = right.wholeNumber { return a == b }
            guard let a = number(left), let b = number(right) else { return false }
            return a == b
        }
    }

    private func isEqual(_ a: [TemplateDatum], _ b: [TemplateDatum]) throws(ChatTemplateError) -> Bool {
        guard a.count == b.count else { return false }
        try enter()
        defer { leave() }
        for (left, right) in zip(a, b) {
            try spend(TemplateBudget.node)
            guard try isEqual(left, right) else { return false }
        }
        return true
    }

    /// Whether `left` is less than `right`; `sign` is for the message.
    func precedes(_ left: TemplateDatum, _ right: TemplateDatum, _ sign: String) throws(ChatTemplateError) -> Bool {
        switch (left, right) {
        case (.undefined(let value), _), (_, .undefined(let value)): throw failure(value.message)
        case (.string(let a), .string(let b)):
            try spend(min(a.utf8.count, b.utf8.count))
            return TemplateText.precedes(a, b)
        case (.list(let a), .list(let b)), (.tuple(let a), .tuple(let b)):
            try enter()
            defer { leave() }
            for (left, right) in zip(a.items, b.items) {
                try spend(TemplateBudget.node)
                if !(try isEqual(left, right)) { return try precedes(left, right, sign) }
            }
            return a.items.count < b.items.count
        default:
            if let a = left.wholeNumber, let b = right.wholeNumber { return a < b }
            guard let a = number(left), let b = number(right) else {
                throw failure("'\(sign)' is not supported between '\(left.typeName)' and '\(right.typeName)'")
            }
            return a < b
        }
    }

    func contains(_ container: TemplateDatum, _ element: TemplateDatum) throws(ChatTemplateError) -> Bool {
        switch container {
        case .string(let text):
            guard case .string(let part) = element else {
                if case .undefined(let value) = element { throw failure(value.message) }
                throw failure("'in' a string needs a string, not '\(element.typeName)'")
            }
            try spend(text.utf8.count + part.utf8.count)
            return TemplateText.contains(text, part)
        case .dict(let dictionary): return dictionary[element] != nil
        default:
            for item in try items(of: container) {
                try spend(TemplateBudget.node)
                if try isEqual(item, element) { return true }
            }
            return false
        }
    }
}
