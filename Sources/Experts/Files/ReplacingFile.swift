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
    /// Creates `folder` with its parents, writes the temporary file there and renames it to `name`.
    ///
    /// - Parameters:
    ///   - folder: where the file shall lie.
    ///   - name: its name there; an existing file is replaced.
    ///   - body: calls the sink it is given with the file's bytes, in order.
    /// - Returns: the path of the finished file.
    /// - Throws: `ArchiveError.file`, and what `body` throws; nothing is left behind then.
    static func write(
        folder: String, name: String, _ body: ((UnsafeRawBufferPointer) throws -> Void) throws -> Void
    ) throws -> String {
        do {
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        } catch {
            throw ArchiveError.file(path: folder, reason: "cannot create the folder: \(error)")
        }
        let prefix = folder.hasSuffix("/") ? folder : folder + "/"
        let path = prefix + name
        let temporary = prefix + ".\(name).\(getpid()).\(UInt32.random(in: .min ... .max)).part"
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
        return path
    }
}
