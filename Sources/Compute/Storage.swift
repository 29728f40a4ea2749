// Storage: a block of memory with one owner. Contents start uninitialised, unless they are a mapped file's.

#if canImport(Glibc)
    internal import Glibc
#endif

/// A block of memory, 64-byte aligned, uninitialised until written.
public final class Storage: @unchecked Sendable {  // who may write when is the engine's affair: one pass at a time
    /// The memory; valid while this object lives.
    public let bytes: UnsafeMutableRawBufferPointer

    static let hugePage = 2 << 20

    /// Who keeps the memory; nil for this object itself.
    private let owner: AnyObject?

    /// Allocates `byteCount` bytes, in huge pages if they fill one: what is read all over is read a fifth to a third faster.
    public init(byteCount: Int) {
        let isLarge = byteCount >= Self.hugePage
        let base = UnsafeMutableRawPointer.allocate(
            byteCount: max(byteCount, 1), alignment: isLarge ? Self.hugePage : 64)
        #if canImport(Glibc)
            if isLarge { madvise(base, byteCount, MADV_HUGEPAGE) }
        #endif
        bytes = UnsafeMutableRawBufferPointer(start: base, count: byteCount)
        owner = nil
    }

    /// The bytes `range` of a file, which nobody may write.
    init(_ file: MappedBytes, bytes range: Range<Int>) {
        bytes = UnsafeMutableRawBufferPointer(mutating: UnsafeRawBufferPointer(rebasing: file.bytes[range]))
        owner = file
    }

    /// The bytes `range` of a block.
    init(_ block: Storage, bytes range: Range<Int>) {
        bytes = UnsafeMutableRawBufferPointer(rebasing: block.bytes[range])
        owner = block
    }

    deinit {
        if owner == nil { bytes.baseAddress?.deallocate() }
    }
}

/// Memory that grows to what was needed most, and is reused. Contents do not survive the next `reserve`.
final class Scratch: @unchecked Sendable {  // one pass at a time, like the memory
    private var storage = Storage(byteCount: 0)

    /// Room for `byteCount` bytes.
    func reserve(_ byteCount: Int) -> UnsafeMutableRawPointer {
        if storage.bytes.count < byteCount { storage = Storage(byteCount: byteCount) }
        guard let start = storage.bytes.baseAddress else { preconditionFailure("storage without memory") }
        return start
    }
}
