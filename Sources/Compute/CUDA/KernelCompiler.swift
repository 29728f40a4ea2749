// KernelCompiler: device code to machine code of one architecture, by NVRTC, which needs no GPU.

internal import CUDAKernels

#if canImport(Glibc)
    internal import Glibc
#endif

/// A source of device code and the constants that it is compiled with.
public struct KernelSource: Sendable, Hashable {
    /// Its file, such as `gate.cu`.
    public var file: String
    /// Constants, as `NAME=value`, in a fixed order.
    public var constants: [String]

    /// A source with its constants.
    public init(_ file: String, _ constants: [String] = []) {
        self.file = file
        self.constants = constants
    }
}

/// NVRTC, opened at run time.
public enum KernelCompiler {
    /// A file or folder to look for NVRTC in before all others.
    public static let pathVariable = "SWITCHYARD_NVRTC"

    /// Opens NVRTC, from where the environment, the caller, the loader or the usual folders have it.
    ///
    /// - Parameter path: a file or folder that the caller knows.
    /// - Throws: `CUDAError.Cause.noCompiler` if none has it.
    public static func open(_ path: String? = nil) throws(CUDAError) {
        let places = CUDALibrary.places(
            ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"], first: [CUDALibrary.variable(pathVariable), path])
        for place in places where cuda_open_compiler(place) { return }
        throw CUDAError(
            "open the kernel compiler",
            .noCompiler(
                "no NVRTC (libnvrtc) found; install CUDA 12 or newer, or `pip install nvidia-cuda-nvrtc` and set "
                    + "\(pathVariable) to the folder of libnvrtc"))
    }

    /// NVRTC's version, such as `13.0`; opens it.
    public static func version() throws(CUDAError) -> String {
        try open()
        var (major, minor): (Int32, Int32) = (0, 0)
        try check(nv_nvrtcVersion(&major, &minor), "ask NVRTC for its version", log: "")
        return "\(major).\(minor)"
    }

    /// The text that decides what a compilation gives: the source, all headers, the options.
    static func recipe(_ source: KernelSource, architecture: String) -> String {
        let headers = sources.filter(\.isHeader).map { $0.name + "\n" + $0.text }
        let own = sources.first { $0.name == source.file }?.text ?? ""
        return (headers + [own] + options(source, architecture)).joined(separator: "\n")
    }

    /// Compiles `source` for `architecture`, such as `sm_90a`.
    ///
    /// - Returns: the machine code, a CUBIN.
    public static func compile(_ source: KernelSource, architecture: String) throws(CUDAError) -> [UInt8] {
        try open()
        let doing = "compile \(source.file) for \(architecture)"
        guard let text = sources.first(where: { $0.name == source.file })?.text else {
            throw CUDAError(doing, .unsupported("no such source"))
        }
        let headers = sources.filter(\.isHeader)
        var program: UnsafeMutableRawPointer?
        let status = withCStrings(headers.map(\.text)) { texts in
            withCStrings(headers.map(\.name)) { names in
                nv_nvrtcCreateProgram(&program, text, source.file, Int32(headers.count), texts, names)
            }
        }
        try check(status, doing, log: "")
        defer { _ = nv_nvrtcDestroyProgram(&program) }
        let options = options(source, architecture)
        let compiled = withCStrings(options) { nv_nvrtcCompileProgram(program, Int32(options.count), $0) }
        try check(compiled, doing, log: compiled == 0 ? "" : log(program))
        var size = 0
        try check(nv_nvrtcGetCUBINSize(program, &size), doing, log: "")
        var status2: Int32 = 0
        let image = [UInt8](unsafeUninitializedCapacity: size) { buffer, filled in
            status2 = buffer.withMemoryRebound(to: CChar.self) { nv_nvrtcGetCUBIN(program, $0.baseAddress) }
            filled = size
        }
        try check(status2, doing, log: "")
        return image
    }

    private static func options(_ source: KernelSource, _ architecture: String) -> [String] {
        // Without fused multiply-adds weights have the bits that the CPU gives them.
        ["--gpu-architecture=\(architecture)", "--std=c++17", "--fmad=false"] + source.constants.map { "-D" + $0 }
    }

    private static let sources: [(name: String, text: String, isHeader: Bool)] = {
        var sources: [(name: String, text: String, isHeader: Bool)] = []
        while let source = cuda_source_at(Int32(sources.count)) {
            let source = source.pointee
            sources.append((String(cString: source.name), String(cString: source.text), source.is_header))
        }
        return sources
    }()

    private static func log(_ program: UnsafeMutableRawPointer?) -> String {
        var size = 0
        guard nv_nvrtcGetProgramLogSize(program, &size) == 0, size > 1 else { return "no log" }
        var text = [CChar](repeating: 0, count: size)
        guard nv_nvrtcGetProgramLog(program, &text) == 0 else { return "no log" }
        return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private static func check(_ status: Int32, _ doing: String, log: @autoclosure () -> String) throws(CUDAError) {
        guard status == 0 else { throw CUDAError(doing, .compiler(status: status, log: log())) }
    }
}

/// Lends C strings for as long as `body` runs.
private func withCStrings<Result>(
    _ strings: [String], _ body: (UnsafePointer<UnsafePointer<CChar>?>?) -> Result
) -> Result {
    let copies = strings.map { strdup($0) }
    defer { for copy in copies { free(copy) } }
    return copies.map { UnsafePointer($0) }.withUnsafeBufferPointer { body($0.baseAddress) }
}
