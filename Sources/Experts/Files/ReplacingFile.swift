// ReplacingFile: a file that appears whole or not at all, by writing under a temporary name and renaming.

#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif
#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// Writes files that readers never see half done.
enum ReplacingFile {
    /// Writes a temporary file beside `path` and renames it.
    ///
    /// - Parameters:
    ///   - path: of the file; its folder is created with its parents if missing, an existing file is replaced.
    ///   - body: calls the sink it is given with the file's bytes, in order.
    /// - Throws: `ArchiveError.file`, and what `body` throws; nothing is left behind then.
    static func write(
        _ path: String, _ body: ((UnsafeRawBufferPointer) throws -> Void) throws -> Void
    ) throws {
        let name = Self.name(path)
        let folder = String(path.dropLast(name.count))
        if !folder.isEmpty {
            do {
                try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            } catch {
                throw ArchiveError.file(path: folder, reason: "cannot create the folder: \(error)")
            }
        }
        let temporary = folder + ".\(name).\(getpid()).\(UInt32.random(in: .min ... .max)).part"
        func failure() -> ArchiveError { .file(path: path, reason: String(cString: strerror(errno))) }

        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw failure() }
        var isOpen = true
        do {
            try body { bytes in
                var rest = bytes
                while let base = rest.baseAddress, !rest.isEmpty {
                    // Bounded, since one write of 2 GiB or more is cut short or refused.
                    #if canImport(Darwin)
                        let written = Darwin.write(descriptor, base, min(rest.count, 1 << 30))
                    #elseif canImport(Musl)
                        let written = Musl.write(descriptor, base, min(rest.count, 1 << 30))
                    #else
                        let written = Glibc.write(descriptor, base, min(rest.count, 1 << 30))
                    #endif
                    if written < 0 {
                        if errno == EINTR { continue }
                        throw failure()
                    }
                    rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(written))
                }
            }
            isOpen = false
            guard close(descriptor) == 0, rename(temporary, path) == 0 else { throw failure() }
        } catch {
            if isOpen { close(descriptor) }
            unlink(temporary)
            throw error
        }
    }

    /// The last part of a path; empty when it ends in a slash.
    static func name(_ path: String) -> String {
        path.lastIndex(of: "/").map { String(path[path.index(after: $0)...]) } ?? path
    }
}
