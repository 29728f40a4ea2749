// WholeFile: the bytes of a regular file. Copied, not mapped: another process may cut the file off meanwhile.

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// Reads files.
enum WholeFile {
    /// The bytes of the file at `path`.
    ///
    /// - Throws: `RecordingError.file`, also for what is no regular file.
    static func read(_ path: String) throws(RecordingError) -> [UInt8] {
        func failure() -> RecordingError { .file(path: path, reason: String(cString: strerror(errno))) }
        // Not blocking: a pipe is refused below, not waited for.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw failure() }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw failure() }
        guard status.st_mode & S_IFMT == S_IFREG else { throw .file(path: path, reason: "not a regular file") }
        let size = Int(status.st_size)
        var hasFailed = false
        let bytes = [UInt8](unsafeUninitializedCapacity: size) { buffer, filled in
            while filled < size {
                let count = Self.read(descriptor, buffer.baseAddress.map { $0 + filled }, min(size - filled, 1 << 30))
                if count < 0, errno == EINTR { continue }
                hasFailed = count < 0
                guard count > 0 else { break }
                filled += count
            }
        }
        guard !hasFailed else { throw failure() }
        return bytes
    }

    private static func read(_ descriptor: Int32, _ start: UnsafeMutablePointer<UInt8>?, _ count: Int) -> Int {
        #if canImport(Darwin)
            Darwin.read(descriptor, start, count)
        #elseif canImport(Musl)
            Musl.read(descriptor, start, count)
        #else
            Glibc.read(descriptor, start, count)
        #endif
    }
}
