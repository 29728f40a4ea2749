// Message: how an error crosses into C: one line in the caller's buffer, and -1.

internal import Experts

/// A request that cannot be served; other errors cross by their descriptions.
struct BadRequest: Error, CustomStringConvertible {
    var description: String

    init(_ description: String) { self.description = description }
}

/// Runs `body`; returns 0, or -1 with its error in `message`; -2 if that is a lack of room for the result.
func answering(_ message: UnsafeMutablePointer<CChar>?, _ size: Int, _ body: () throws -> Void) -> Int32 {
    do {
        try body()
        return 0
    } catch {
        if let message, size > 0 {
            let text = "\(error)".utf8.prefix(size - 1)
            for (index, byte) in text.enumerated() { message[index] = CChar(bitPattern: byte) }
            message[text.count] = 0
        }
        if case RoutingError.outputTooSmall = error { return -2 }
        return -1
    }
}

/// Refuses what is false.
func require(_ condition: Bool, _ message: @autoclosure () -> String) throws(BadRequest) {
    guard condition else { throw BadRequest(message()) }
}

/// The pointer, unless it is NULL.
func require<Pointer>(_ pointer: Pointer?, _ name: String) throws(BadRequest) -> Pointer {
    guard let pointer else { throw BadRequest("\(name) is NULL") }
    return pointer
}
