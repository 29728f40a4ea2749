// TemplateEvaluator+Calls: macros and global functions, and how arguments meet parameters.

/// The evaluated arguments of a call.
struct TemplateArguments {
    var positional: [TemplateDatum] = []
    var named: [(name: String, value: TemplateDatum)] = []
}

/// The functions that every template has.
enum TemplateFunction: String {
    case range
    case dict
    case namespace
    case raiseException = "raise_exception"
    case strftimeNow = "strftime_now"
}

extension TemplateEvaluator {
    func call(_ callee: TemplateDatum, _ arguments: TemplateArguments) throws(ChatTemplateError) -> TemplateDatum {
        try enter()
        defer { leave() }
        switch callee {
        case .macro(let macro): return try call(macro, arguments)
        case .function(let function): return try call(function, arguments)
        case .method(let method):
            return try call(method.method, method.method.rawValue, of: method.receiver, arguments)
        case .undefined(let undefined): throw failure(undefined.message)
        default: throw failure("'\(callee.typeName)' is not callable")
        }
    }

    /// The arguments in the order of `parameters`, nil where none is given.
    func bind(
        _ arguments: TemplateArguments, to parameters: [String], of callee: String, required: Int = 0
    ) throws(ChatTemplateError) -> [TemplateDatum?] {
        guard arguments.positional.count <= parameters.count else {
            throw failure(
                "'\(callee)' takes at most \(parameters.count) arguments, not \(arguments.positional.count)")
        }
        var result: [TemplateDatum?] = arguments.positional
        result.append(contentsOf: repeatElement(nil, count: parameters.count - result.count))
        for (name, value) in arguments.named {
            guard let place = parameters.firstIndex(of: name) else {
                throw failure("'\(callee)' takes no argument '\(name)'")
            }
            guard result[place] == nil else { throw failure("'\(callee)' got its argument '\(name)' twice") }
            result[place] = value
        }
        for place in 0..<required where result[place] == nil {
            throw failure("'\(callee)' needs its argument '\(parameters[place])'")
        }
        return result
    }

    // MARK: Macros

    private func call(_ macro: TemplateMacro, _ arguments: TemplateArguments) throws(ChatTemplateError) -> TemplateDatum
    {
        let syntax = macro.syntax
        var arguments = arguments
        let inner = TemplateScope(inside: macro.scope)
        let caller = arguments.named.firstIndex { $0.name == "caller" }
        if let caller, !syntax.parameters.contains(where: { $0.name == "caller" }) {
            inner.set(syntax.caller, arguments.named.remove(at: caller).value)
        } else {
            inner.set(syntax.caller, .undefined(TemplateUndefined("caller")))
        }
        let values = try bind(arguments, to: syntax.parameters.map(\.name), of: syntax.name)
        let outer = scope
        scope = inner
        defer { scope = outer }
        for (parameter, value) in zip(syntax.parameters, values) {
            if let value {
                inner.set(parameter.variable, value)
            } else if let fallback = parameter.fallback {
                inner.set(parameter.variable, try evaluate(fallback))
            } else {
                inner.set(parameter.variable, .undefined(TemplateUndefined(parameter.name)))
            }
        }
        return .string(try captured(syntax.body, in: inner))
    }

    // MARK: Functions

    private func call(
        _ function: TemplateFunction, _ arguments: TemplateArguments
    ) throws(ChatTemplateError) -> TemplateDatum {
        let name = function.rawValue
        switch function {
        case .range: return try range(arguments)
        case .dict:
            guard arguments.positional.count <= 1 else { throw failure("'dict' takes at most 1 argument") }
            var members: [(key: TemplateDatum, value: TemplateDatum)] = []
            if let first = arguments.positional.first {
                guard case .dict(let dictionary) = first else { throw failure("'dict' needs a dictionary") }
                members = Array(zip(dictionary.keys, dictionary.values)).map { (key: $0.0, value: $0.1) }
            }
            for (name, value) in arguments.named { members.append((.string(name), value)) }
            return try dictionary(members)
        case .namespace:
            let namespace = makeNamespace()
            for value in arguments.positional {
                guard case .dict(let dictionary) = value else { throw failure("'namespace' needs a dictionary") }
                for (key, value) in zip(dictionary.keys, dictionary.values) {
                    if case .string(let name) = key { namespace[name] = value }
                }
            }
            for (name, value) in arguments.named { namespace[name] = value }
            return .namespace(namespace)
        case .raiseException:
            let values = try bind(arguments, to: ["message"], of: name, required: 1)
            throw ChatTemplateError(try text(of: values[0] ?? .null))
        case .strftimeNow:
            let values = try bind(arguments, to: ["format"], of: name, required: 1)
            guard case .string(let format)? = values[0] else { throw failure("'strftime_now' needs a string") }
            guard let text = TemplateClock.now(format: format) else {
                throw failure("'strftime_now' cannot write '\(format)'")
            }
            return try string(text)
        }
    }

    private func range(_ arguments: TemplateArguments) throws(ChatTemplateError) -> TemplateDatum {
        var bounds: [Int] = []
        for argument in arguments.positional {
            guard let bound = argument.wholeNumber else {
                throw failure("'range' needs integers, not '\(argument.typeName)'")
            }
            bounds.append(bound)
        }
        guard arguments.named.isEmpty, (1...3).contains(bounds.count) else {
            throw failure("'range' takes one to three integers")
        }
        let start = bounds.count > 1 ? bounds[0] : 0
        let end = bounds.count > 1 ? bounds[1] : bounds[0]
        let stride = bounds.count > 2 ? bounds[2] : 1
        guard stride != 0 else { throw failure("'range' cannot have the step 0") }
        let (distance, overflows) = (stride > 0 ? end : start).subtractingReportingOverflow(stride > 0 ? start : end)
        guard overflows || distance > 0 else { return try list([]) }
        let steps = (distance - 1) / Int(clamping: stride.magnitude)
        guard !overflows, steps < TemplateBudget.maximumRange else {
            throw failure("'range' is longer than \(TemplateBudget.maximumRange)")
        }
        return try list((0...steps).map { .int(start + $0 * stride) })
    }
}
