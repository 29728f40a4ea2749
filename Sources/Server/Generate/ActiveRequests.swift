// ActiveRequests: which requests can be aborted by name. A name may be used again while its former owner ends, so
// requests are kept by the call that brought them.
//
// Shared state: one `Mutex`.

internal import Synchronization

/// The names of the requests that run or wait, by call.
final class ActiveRequests: Sendable {
    private struct State {
        var calls: [Int: [TextRequest.Name]] = [:]
        var next = 0
    }

    private let state = Mutex(State())

    /// Adds the requests of one call, for as long as the registration is kept.
    func add(_ requests: [TextRequest]) -> ActiveRegistration {
        let names = requests.map { TextRequest.Name(id: $0.id, group: $0.group) }
        let call = state.withLock { state in
            state.next += 1
            state.calls[state.next] = names
            return state.next
        }
        return ActiveRegistration { [self] in state.withLock { $0.calls[call] = nil } }
    }

    /// The requests that `name` means: one of that name, and those of a batch of that name.
    func names(for name: String) -> [String] {
        state.withLock { $0.calls.values.joined().filter { $0.id == name || $0.group == name }.map(\.id) }
    }

    /// All requests.
    var all: [String] { state.withLock { $0.calls.values.joined().map(\.id) } }
}

/// Keeps the requests of one call active until nobody holds it.
final class ActiveRegistration: Sendable {
    private let end: @Sendable () -> Void

    fileprivate init(end: @escaping @Sendable () -> Void) { self.end = end }

    deinit { end() }
}

extension TextRequest {
    /// What a request is called.
    struct Name {
        var id: String
        var group: String
    }
}
