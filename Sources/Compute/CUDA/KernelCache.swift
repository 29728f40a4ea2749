// KernelCache: kernels of one device, compiled when first asked for and kept on disk.
//
// A file is named by a hash of everything that decides its contents. It is written under another name and renamed, so that
// ranks that race write the same whole file.
// Owner: the thread that drives the GPU.

internal import CUDAKernels

#if canImport(Glibc)
    internal import Glibc
#endif

/// A kernel on a device.
public struct Kernel {
    /// Its name.
    public let name: String
    let handle: UnsafeMutableRawPointer?

    /// Enqueues a launch with one argument struct.
    func launch<Arguments: BitwiseCopyable>(
        _ launch: cuda_launch, on stream: CUDAStream, _ arguments: Arguments
    ) throws(CUDAError) {
        let status = withUnsafePointer(to: launch) { launch in
            withUnsafePointer(to: arguments) { cuda_launch_kernel(handle, launch, stream.handle, $0) }
        }
        try check(status, "launch \(name)")
    }
}

/// The kernels of one device.
public final class KernelCache {
    /// What kernels are compiled for.
    public let architecture: String
    /// Where they are kept.
    public let folder: String
    private var modules: [KernelSource: UnsafeMutableRawPointer?] = [:]
    private var kernels: [KernelSource: [String: (kernel: Kernel, sharedMemory: Int)]] = [:]

    init(architecture: String, folder: String?) {
        self.architecture = architecture
        self.folder = folder ?? Self.usualFolder
    }

    /// `switchyard/kernels` in the user's cache folder.
    static var usualFolder: String {
        func variable(_ name: String) -> String? {
            getenv(name).map { String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 }
        }
        let cache = variable("XDG_CACHE_HOME") ?? variable("HOME").map { $0 + "/.cache" } ?? "/tmp"
        return cache + "/switchyard/kernels"
    }

    /// Gives the modules back; kernels are unusable afterwards.
    func unload() {
        for module in modules.values { _ = nv_cuModuleUnload(module) }
        modules = [:]
        kernels = [:]
    }

    /// A kernel of `source`: from memory, from disk, or compiled.
    ///
    /// - Parameters:
    ///   - name: the kernel.
    ///   - source: where it stands, and its constants.
    ///   - sharedMemory: the most dynamic shared memory that a launch will ask for, in bytes.
    ///   - largeClusters: whether clusters of more than eight CTAs are launched.
    /// - Returns: the kernel, which lives as long as this cache.
    /// - Throws: `CUDAError`, with the compiler's log if it does not compile.
    public func kernel(
        _ name: String, of source: KernelSource, sharedMemory: Int = 0, largeClusters: Bool = false
    ) throws(CUDAError) -> Kernel {
        if let known = kernels[source]?[name], known.sharedMemory >= sharedMemory { return known.kernel }
        // The first use may fall into a capture.
        let module: UnsafeMutableRawPointer? = try CUDAStream.besideCaptures { () throws(CUDAError) in
            try self.module(source)
        }
        var handle: UnsafeMutableRawPointer?
        try check(nv_cuModuleGetFunction(&handle, module, name), "find kernel \(name) in \(source.file)")
        // Numbers of CUfunction_attribute. What every CTA has without asking is 48 KiB, static memory included, of which no
        // kernel has more than eight.
        if sharedMemory > 40 << 10 {
            try check(
                nv_cuFuncSetAttribute(handle, 8, Int32(truncatingIfNeeded: sharedMemory)),
                "allow \(name) \(sharedMemory) bytes of shared memory")
        }
        if largeClusters { try check(nv_cuFuncSetAttribute(handle, 14, 1), "allow \(name) large clusters") }
        let kernel = Kernel(name: name, handle: handle)
        kernels[source, default: [:]][name] = (kernel, sharedMemory)
        return kernel
    }

    private func module(_ source: KernelSource) throws(CUDAError) -> UnsafeMutableRawPointer? {
        if let module = modules[source] { return module }
        let name = Self.hash(KernelCompiler.recipe(source, architecture: architecture))
        let path = "\(folder)/\(name).cubin"
        var module: UnsafeMutableRawPointer?
        // What is on disk but does not load is compiled again.
        if let image = Self.read(path), nv_cuModuleLoadData(&module, image) == 0 {
            modules[source] = module
            return module
        }
        let image = try KernelCompiler.compile(source, architecture: architecture)
        try check(nv_cuModuleLoadData(&module, image), "load \(source.file)")
        Self.write(image, folder: folder, path: path)
        modules[source] = module
        return module
    }

    /// FNV-1a, twice 64 bits.
    static func hash(_ text: String) -> String {
        var (first, second): (UInt64, UInt64) = (0xcbf2_9ce4_8422_2325, 0x6c62_272e_07bb_0142)
        for byte in text.utf8 {
            first = (first ^ UInt64(byte)) &* 0x100_0000_01b3
            second = (second ^ UInt64(byte)) &* 0x100_0000_01b3 &+ 0x9e37_79b9
        }
        return [first, second].map {
            let digits = String($0, radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }.joined()
    }

    private static func read(_ path: String) -> [UInt8]? {
        guard let file = fopen(path, "rb") else { return nil }
        defer { fclose(file) }
        guard fseek(file, 0, SEEK_END) == 0 else { return nil }
        let size = ftell(file)
        guard size > 0, fseek(file, 0, SEEK_SET) == 0 else { return nil }
        var bytes = [UInt8](repeating: 0, count: size)
        return fread(&bytes, 1, size, file) == size ? bytes : nil
    }

    /// Best effort: without a writable folder kernels are compiled at every start.
    private static func write(_ image: [UInt8], folder: String, path: String) {
        var parent = ""
        for part in folder.split(separator: "/") {
            parent += "/" + part
            mkdir(folder.hasPrefix("/") ? parent : String(parent.dropFirst()), 0o755)
        }
        let temporary = "\(path).\(getpid())"
        guard let file = fopen(temporary, "wb") else { return }
        let written = fwrite(image, 1, image.count, file)
        guard fclose(file) == 0, written == image.count, rename(temporary, path) == 0 else {
            unlink(temporary)
            return
        }
    }
}
