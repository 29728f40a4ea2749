// ActiveRequests: which requests can be aborted by name. A name may be used again while its former owner ends, so
// requests are kept by the call that brought them.

/// The names of the requests that run or wait, by call.
struct ActiveRequests {
    private var calls: [Int: [TextRequest.Name]] = [:]
    private var next = 0

    /// Adds the requests of one call.
    ///
    /// - Parameter requests: what the call brought.
    /// - Returns: what `remove` takes.
    mutating func add(_ requests: [TextRequest]) -> Int {
        next += 1
        calls[next] = requests.map { TextRequest.Name(id: $0.id, group: $0.group) }
        return next
    }

    /// Removes the requests of one call.
    mutating func remove(_ ticket: Int) { calls[ticket] = nil }

    /// The requests that `name` means: one of that name, and those of a batch of that name.
    func names(for name: String) -> [String] {
        calls.values.joined().filter { $0.id == name || $0.group == name }.map(\.id)
    }

    /// All requests.
    var all: [String] { calls.values.joined().map(\.id) }
}

extension TextRequest {
    /// What a request is called.
    struct Name {
        var id: String
        var group: String
    }
}
