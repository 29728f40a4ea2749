// TemplateEvaluator+Expressions: the value of an expression.

extension TemplateEvaluator {
    func evaluate(_ expression: TemplateExpression) throws(ChatTemplateError) -> TemplateDatum {
        try spend(TemplateBudget.node)
        switch expression {
        case .literal(let value): return literal(value)
        case .name(let name): return scope[name] ?? .undefined(TemplateUndefined(program.names[name]))
        default: break
        }
        try enter()
        defer { leave() }
        switch expression {
        case .literal, .name: return .null
        case .list(let items): return try list(try evaluate(items))
        case .tuple(let items): return .tuple(try newList(try evaluate(items)))
        case .dictionary(let members): return try dictionary(members)
        case .negative(let operand): return try negated(try evaluate(operand))
        case .positive(let operand): return try arithmetic(.int(0), .plus, try evaluate(operand))
        case .not(let operand): return .bool(!(try evaluate(operand).isTrue))
        case .and(let operands): return try firstOperand(operands, isTrue: false)
        case .or(let operands): return try firstOperand(operands, isTrue: true)
        case .arithmetic(let first, let rest):
            var value = try evaluate(first)
            for (mark, operand) in rest { value = try arithmetic(value, mark, try evaluate(operand)) }
            return value
        case .concatenation(let operands): return try concatenated(operands)
        case .comparison(let first, let rest): return try comparison(first, rest)
        case .conditional(let value, let cases): return try conditional(value, cases)
        case .chain(let base, let steps): return try apply(steps, to: try evaluate(base))
        }
    }

    private func literal(_ value: TemplateValue) -> TemplateDatum {
        switch value {
        case .null, .array, .object: .null
        case .bool(let value): .bool(value)
        case .int(let value): .int(value)
        case .double(let value): .double(value)
        case .string(let text): .string(text)
        }
    }

    private func evaluate(_ expressions: [TemplateExpression]) throws(ChatTemplateError) -> [TemplateDatum] {
        var values: [TemplateDatum] = []
        values.reserveCapacity(expressions.count)
        for expression in expressions { values.append(try evaluate(expression)) }
        return values
    }

    func evaluate(_ call: TemplateCall) throws(ChatTemplateError) -> TemplateArguments {
        var arguments = TemplateArguments(positional: try evaluate(call.positional))
        for (name, value) in call.named { arguments.named.append((name, try evaluate(value))) }
        return arguments
    }

    private func dictionary(
        _ members: [(key: TemplateExpression, value: TemplateExpression)]
    ) throws(ChatTemplateError) -> TemplateDatum {
        var values: [(key: TemplateDatum, value: TemplateDatum)] = []
        for member in members { values.append((try evaluate(member.key), try evaluate(member.value))) }
        return try dictionary(values)
    }

    /// The first operand whose truth is `isTrue`, else the last.
    private func firstOperand(
        _ operands: [TemplateExpression], isTrue: Bool
    ) throws(ChatTemplateError) -> TemplateDatum {
        for operand in operands.dropLast() {
            let value = try evaluate(operand)
            if value.isTrue == isTrue { return value }
        }
        return try evaluate(operands[operands.count - 1])
    }

    private func concatenated(_ operands: [TemplateExpression]) throws(ChatTemplateError) -> TemplateDatum {
        var result = ""
        for operand in operands {
            try append(try text(of: try evaluate(operand)), to: &result)
        }
        return .string(result)
    }

    private func comparison(
        _ first: TemplateExpression, _ rest: [(relation: TemplateRelation, operand: TemplateExpression)]
    ) throws(ChatTemplateError) -> TemplateDatum {
        var left = try evaluate(first)
        for (relation, operand) in rest {
            let right = try evaluate(operand)
            guard try holds(left, relation, right) else { return .bool(false) }
            left = right
        }
        return .bool(true)
    }

    private func conditional(
        _ value: TemplateExpression, _ cases: [(condition: TemplateExpression, otherwise: TemplateExpression?)]
    ) throws(ChatTemplateError) -> TemplateDatum {
        for (condition, otherwise) in cases.reversed() where !(try evaluate(condition).isTrue) {
            guard let otherwise else { return .undefined(TemplateUndefined("the value of an inline if without else")) }
            return try evaluate(otherwise)
        }
        return try evaluate(value)
    }

    /// Applies attributes, items, calls, filters and tests in order.
    func apply(_ steps: [TemplateStep], to base: TemplateDatum) throws(ChatTemplateError) -> TemplateDatum {
        var value = base
        var place = 0
        while place < steps.count {
            try spend(TemplateBudget.node)
            // A method that is called at once needs no bound method.
            if case .attribute(let name, let method?) = steps[place], place + 1 < steps.count,
                case .call(let call) = steps[place + 1], method.belongs(to: value)
            {
                value = try self.call(method, name, of: value, try evaluate(call))
                place += 2
                continue
            }
            value = try apply(steps[place], to: value)
            place += 1
        }
        return value
    }

    private func apply(_ step: TemplateStep, to value: TemplateDatum) throws(ChatTemplateError) -> TemplateDatum {
        switch step {
        case .attribute(let name, let method): return try attribute(name, method, of: value)
        case .item(let index): return try item(try evaluate(index), of: value)
        case .slice(let start, let end, let stride):
            return try slice(value, try bound(start), try bound(end), try bound(stride))
        case .call(let call): return try self.call(value, try evaluate(call))
        case .filter(let filter, let call): return try self.filter(filter, value, try evaluate(call))
        case .test(let test, let call, let isNegated):
            return .bool(try self.test(test, value, try evaluate(call)) != isNegated)
        }
    }

    private func bound(_ expression: TemplateExpression?) throws(ChatTemplateError) -> Int? {
        guard let expression else { return nil }
        let value = try evaluate(expression)
        if case .null = value { return nil }
        guard let number = value.wholeNumber else { throw failure("a slice needs integers, not '\(value.typeName)'") }
        return number
    }
}
