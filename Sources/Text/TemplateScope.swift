// TemplateScope: which variables a piece of template sees.
//
// The outermost scope has a place for each name of the program; inner scopes hold few names and are searched.

final class TemplateScope {
    private let parent: TemplateScope?
    /// Outermost scope only: by name.
    private var globals: [TemplateDatum?]
    private var locals: [(name: TemplateName, value: TemplateDatum)] = []
    /// Whether a macro holds this scope, so that it must not be used again.
    var isCaptured = false

    /// The outermost scope.
    init(globals: [TemplateDatum?]) {
        parent = nil
        self.globals = globals
    }

    init(inside parent: TemplateScope) {
        self.parent = parent
        globals = []
    }

    subscript(name: TemplateName) -> TemplateDatum? {
        var scope = self
        while true {
            for local in scope.locals where local.name == name { return local.value }
            guard let parent = scope.parent else { return scope.globals[name] }
            scope = parent
        }
    }

    /// Sets `name` here, hiding that of outer scopes.
    func set(_ name: TemplateName, _ value: TemplateDatum) {
        guard parent != nil else {
            globals[name] = value
            return
        }
        if let place = locals.firstIndex(where: { $0.name == name }) {
            locals[place].value = value
        } else {
            locals.append((name, value))
        }
    }

    /// Forgets what was set here.
    func removeAll() {
        locals.removeAll(keepingCapacity: true)
        for place in globals.indices { globals[place] = nil }
    }
}
