// CUDAError: what went wrong on a GPU, and what was being done.

internal import CUDAKernels

/// Why a GPU cannot be used, or what failed on it.
public struct CUDAError: Error, Equatable, CustomStringConvertible {
    /// The kinds of failure.
    public enum Cause: Sendable, Equatable {
        /// No driver, too old a driver, or no GPU.
        case noDevice(String)
        /// The driver's status, its name and meaning.
        case driver(status: Int32, text: String)
        /// Too little device or pinned memory.
        case outOfMemory(needed: Int, available: Int)
        /// No run-time compiler.
        case noCompiler(String)
        /// The run-time compiler's status and what it printed.
        case compiler(status: Int32, log: String)
        /// Sizes that the kernels do not serve.
        case unsupported(String)
    }

    /// What was being done, such as `launch align_few_pairs`.
    public var doing: String
    /// What went wrong.
    public var cause: Cause

    /// A failure from its parts.
    public init(_ doing: String, _ cause: Cause) {
        self.doing = doing
        self.cause = cause
    }

    /// The failure in one line.
    public var description: String {
        switch cause {
        case .noDevice(let reason): "\(doing): \(reason)"
        case .driver(_, let text): "\(doing): \(text)"
        case .outOfMemory(let needed, let available):
            "\(doing): \(needed) bytes needed, \(available) free; use smaller batches or another GPU"
        case .noCompiler(let reason): "\(doing): \(reason)"
        case .compiler(let status, let log): "\(doing): NVRTC status \(status): \(log)"
        case .unsupported(let reason): "\(doing): \(reason)"
        }
    }
}

/// Throws for a driver status other than 0.
@inline(__always)
func check(_ status: Int32, _ doing: @autoclosure () -> String) throws(CUDAError) {
    guard status != 0 else { return }
    throw driverError(status, doing())
}

@inline(never)
func driverError(_ status: Int32, _ doing: String) -> CUDAError {
    var name: UnsafePointer<CChar>?
    var text: UnsafePointer<CChar>?
    _ = nv_cuGetErrorName(status, &name)
    _ = nv_cuGetErrorString(status, &text)
    let said = [name, text].compactMap { $0.map { String(cString: $0) } }
    return CUDAError(
        doing, .driver(status: status, text: said.isEmpty ? "status \(status)" : said.joined(separator: ": ")))
}
