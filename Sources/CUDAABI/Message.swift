// Message: how an error crosses into C: one line in the caller's buffer, and its kind as a negative number.

internal import Compute
internal import Experts

/// A request that cannot be served.
struct BadRequest: Error, CustomStringConvertible {
    var description: String

    init(_ description: String) { self.description = description }
}

/// Runs `body`; returns 0, or with its error in `message` the error's kind.
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
        return kind(of: error)
    }
}

private func kind(of error: any Error) -> Int32 {
    guard let error = error as? CUDAError else { return -1 }
    switch error.cause {
    case .unsupported: return -1
    case .outOfMemory: return -2
    case .noDevice, .driver, .noCompiler, .compiler: return -3
    }
}

/// The object behind a handle.
func object<Object: AnyObject>(_ handle: UnsafeMutableRawPointer?, _ name: String) throws(BadRequest) -> Object {
    guard let handle else { throw BadRequest("\(name) is NULL") }
    return Unmanaged<Object>.fromOpaque(handle).takeUnretainedValue()
}

/// A handle to an object that lives as long as the process.
func handle(_ object: some AnyObject) -> UnsafeMutableRawPointer { Unmanaged.passRetained(object).toOpaque() }
