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
    /// Which file it is, as it was when it was opened; nil for what is no file.
    public let identity: FileIdentity?
    private let ownsMapping: Bool
    private static let pageSize = Int(sysconf(Int32(_SC_PAGESIZE)))

    /// Bytes that outlive the process's need for them, such as data embedded in the binary.
    public init(permanent bytes: UnsafeRawBufferPointer, name: String) {
        self.bytes = bytes
        self.name = name
        identity = nil
        ownsMapping = false
    }

    /// Memory of its own, which `fill` writes once.
    ///
    /// - Throws: `FileError` when there is not enough memory.
    public init(byteCount: Int, name: String, fill: (UnsafeMutableRawBufferPointer) -> Void) throws(FileError) {
        self.name = name
        identity = nil
        guard byteCount > 0 else {
            bytes = UnsafeRawBufferPointer(start: nil, count: 0)
            ownsMapping = false
            return
        }
        guard
            let base = mmap(nil, byteCount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
            base != MAP_FAILED
        else { throw FileError(path: name, reason: String(cString: strerror(errno))) }
        fill(UnsafeMutableRawBufferPointer(start: base, count: byteCount))
        bytes = UnsafeRawBufferPointer(start: base, count: byteCount)
        ownsMapping = true
    }

    /// Asks the system for the bytes in `range`, which will be read soon: it reads the file meanwhile.
    func fetch(_ range: Range<Int>) {
        guard identity != nil, let base = bytes.baseAddress else { return }
        let first = range.lowerBound / Self.pageSize * Self.pageSize
        madvise(UnsafeMutableRawPointer(mutating: base + first), range.upperBound - first, MADV_WILLNEED)
    }

    /// Tells the system that the bytes in `range` will not be read soon: a file's pages then take no memory of ours.
    func forget(_ range: Range<Int>) {
        // What is no file cannot be read again.
        guard identity != nil, let base = bytes.baseAddress else { return }
        let page = Self.pageSize
        let (first, last) = ((range.lowerBound + page - 1) / page * page, range.upperBound / page * page)
        guard last > first else { return }
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
        identity = FileIdentity(status)
        guard size > 0 else {
            bytes = UnsafeRawBufferPointer(start: nil, count: 0)
            ownsMapping = false
            return
        }
        let place = usesHugePages ? Self.reserve(size) : nil
        let flags = place == nil ? MAP_PRIVATE : MAP_PRIVATE | MAP_FIXED
        guard let base = mmap(place, size, PROT_READ, flags, descriptor, 0), base != MAP_FAILED else {
            let reason = String(cString: strerror(errno))
            if let place { munmap(place, size) }
            throw FileError(path: path, reason: reason)
        }
        #if canImport(Glibc)
            if usesHugePages { madvise(base, size, MADV_HUGEPAGE) }
        #endif
        bytes = UnsafeRawBufferPointer(start: base, count: size)
        ownsMapping = true
    }

    /// Addresses for `byteCount` bytes that begin where a huge page does; nil if there are none.
    static func reserve(_ byteCount: Int) -> UnsafeMutableRawPointer? {
        let page = Storage.hugePage
        guard byteCount <= Int.max - 2 * page else { return nil }  // a sparse file; the sums below would overflow
        let length = (byteCount + page - 1) / page * page
        guard
            let start = mmap(nil, length + page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), start != MAP_FAILED
        else { return nil }
        let first = start.alignedUp(toMultipleOf: page)
        // What lies before and behind is given back; the file takes the place of the rest.
        if first > start { munmap(start, first - start) }
        let rest = page - (first - start)
        if rest > 0 { munmap(first + length, rest) }
        let tail = (byteCount + pageSize - 1) / pageSize * pageSize
        if tail < length { munmap(first + tail, length - tail) }
        return first
    }

    deinit {
        if ownsMapping, let base = bytes.baseAddress {
            munmap(UnsafeMutableRawPointer(mutating: base), bytes.count)
        }
    }
}

/// What tells a file from every other, and from itself before it was written to.
public struct FileIdentity: Hashable, Sendable, CustomStringConvertible {
    /// Its length, when it was written to and when it or its name last changed, its device and its number there.
    public let description: String

    init(_ status: stat) {
        #if canImport(Glibc)
            let (modified, changed) = (status.st_mtim, status.st_ctim)
        #else
            let (modified, changed) = (status.st_mtimespec, status.st_ctimespec)
        #endif
        description = """
            \(status.st_size) bytes, modified \(modified.tv_sec) s \(modified.tv_nsec) ns, \
            changed \(changed.tv_sec) s \(changed.tv_nsec) ns, device \(status.st_dev), inode \(status.st_ino)
            """
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
