// MappedBytes: read-only bytes that somebody else keeps in memory, the kernel's page cache or the binary itself.

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Darwin
#endif

/// Read-only bytes of a mapped file, or of data that lives as long as the process.
public final class MappedBytes: @unchecked Sendable {  // immutable after init
    /// The bytes; valid while this object lives.
    public let bytes: UnsafeRawBufferPointer
    /// Where they come from, for messages.
    public let name: String
    private let ownsMapping: Bool
    /// Whether what is forgotten can be read again.
    private let isFile: Bool

    /// Bytes that outlive the process's need for them, such as data embedded in the binary.
    public init(permanent bytes: UnsafeRawBufferPointer, name: String) {
        self.bytes = bytes
        self.name = name
        ownsMapping = false
        isFile = false
    }

    /// Memory of its own, which `fill` writes once.
    ///
    /// - Throws: `FileError` when there is not enough memory.
    public init(byteCount: Int, name: String, fill: (UnsafeMutableRawBufferPointer) -> Void) throws(FileError) {
        self.name = name
        guard byteCount > 0 else {
            bytes = UnsafeRawBufferPointer(start: nil, count: 0)
            ownsMapping = false
            isFile = false
            return
        }
        guard
            let base = mmap(nil, byteCount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
            base != MAP_FAILED
        else { throw FileError(path: name, reason: String(cString: strerror(errno))) }
        fill(UnsafeMutableRawBufferPointer(start: base, count: byteCount))
        bytes = UnsafeRawBufferPointer(start: base, count: byteCount)
        ownsMapping = true
        isFile = false
    }

    /// Tells the system that the bytes in `range` will not be read soon: a file's pages then take no memory of ours.
    func forget(_ range: Range<Int>) {
        guard ownsMapping, let base = bytes.baseAddress else { return }
        let page = Int(sysconf(Int32(_SC_PAGESIZE)))
        let (first, last) = ((range.lowerBound + page - 1) / page * page, range.upperBound / page * page)
        guard isFile, last > first else { return }
        madvise(UnsafeMutableRawPointer(mutating: base + first), last - first, MADV_DONTNEED)
    }

    /// Maps the file at `path`.
    ///
    /// - Parameters:
    ///   - path: where it is.
    ///   - usesHugePages: whether to ask for huge pages, which files have where the file system keeps large folios.
    /// - Throws: `FileError` when the file cannot be opened, is not a regular file, or cannot be mapped.
    public init(path: String, usesHugePages: Bool = false) throws(FileError) {
        // Not blocking: a pipe is refused below, not waited for.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw FileError(path: path, reason: String(cString: strerror(errno))) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else {
            throw FileError(path: path, reason: String(cString: strerror(errno)))
        }
        guard status.st_mode & S_IFMT == S_IFREG else { throw FileError(path: path, reason: "not a regular file") }
        let size = Int(status.st_size)
        name = path
        guard size > 0 else {
            bytes = UnsafeRawBufferPointer(start: nil, count: 0)
            ownsMapping = false
            isFile = false
            return
        }
        let place = usesHugePages ? Self.reserve(size) : nil
        let flags = place == nil ? MAP_PRIVATE : MAP_PRIVATE | MAP_FIXED
        guard let base = mmap(place, size, PROT_READ, flags, descriptor, 0), base != MAP_FAILED else {
            throw FileError(path: path, reason: String(cString: strerror(errno)))
        }
        #if canImport(Glibc)
            if usesHugePages { madvise(base, size, MADV_HUGEPAGE) }
        #endif
        bytes = UnsafeRawBufferPointer(start: base, count: size)
        ownsMapping = true
        isFile = true
    }

    /// Addresses for `byteCount` bytes that begin where a huge page does; nil if there are none.
    private static func reserve(_ byteCount: Int) -> UnsafeMutableRawPointer? {
        let page = Storage.hugePage
        let length = (byteCount + page - 1) / page * page
        guard
            let start = mmap(nil, length + page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), start != MAP_FAILED
        else { return nil }
        let first = start.alignedUp(toMultipleOf: page)
        // What lies before and behind is given back; the file takes the place of the rest.
        if first > start { munmap(start, first - start) }
        let rest = page - (first - start)
        if rest > 0 { munmap(first + length, rest) }
        let tail = (byteCount + 4095) / 4096 * 4096
        if tail < length { munmap(first + tail, length - tail) }
        return first
    }

    deinit {
        if ownsMapping, let base = bytes.baseAddress {
            munmap(UnsafeMutableRawPointer(mutating: base), bytes.count)
        }
    }
}

/// A file that could not be read.
public struct FileError: Error, Equatable, CustomStringConvertible {
    /// The file.
    public var path: String
    /// What the system said.
    public var reason: String

    /// What the system said of the file at `path`.
    public init(path: String, reason: String) {
        self.path = path
        self.reason = reason
    }

    /// The facts in one line.
    public var description: String { "\(path): \(reason)" }
}
