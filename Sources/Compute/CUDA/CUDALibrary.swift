// CUDALibrary: where NVIDIA's libraries may lie on a machine, and which versions of them there are.

internal import CUDAKernels

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// A library of NVIDIA's besides the driver and NVRTC; opened at run time.
public enum CUDALibrary: String, Sendable, CaseIterable {
    /// Matrix products.
    case cublasLt
    /// Communication between GPUs.
    case nccl

    /// The version of the one that the loader, the usual folders or NVRTC's folder have, such as `13.1.0`; nil without one.
    public func version() -> String? {
        let folder = [Self.variable(KernelCompiler.pathVariable)]
        var number: Int?
        switch self {
        case .cublasLt:
            var version = 0
            let names = ["libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"]
            for place in Self.places(names, first: folder) where number == nil {
                if cuda_cublaslt_version(place, &version) { number = version }
            }
        case .nccl:
            var version: Int32 = 0
            for place in Self.places(["libnccl.so.2", "libnccl.so"], first: folder) where number == nil {
                if cuda_nccl_version(place, &version) { number = Int(version) }
            }
        }
        return number.map(Self.text)
    }

    /// Both count 10000 * major + 100 * minor + patch.
    static func text(_ version: Int) -> String { "\(version / 10000).\(version / 100 % 100).\(version % 100)" }

    /// Paths to try for a library of one of `names`: files or folders that come `first`, what the loader knows, the usual
    /// folders.
    static func places(_ names: [String], first: [String?]) -> [String] {
        let first = first.compactMap { $0 }.flatMap { path in [path] + names.map { path + "/" + $0 } }
        let homes = [variable("CUDA_HOME"), variable("CUDA_PATH"), "/usr/local/cuda"].compactMap { $0 }
        return first + names + homes.flatMap { home in names.map { home + "/lib64/" + $0 } }
    }

    /// A variable of the environment.
    static func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }
}
