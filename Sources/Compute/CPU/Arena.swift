// Arena: memory for the matrices of a model, side by side in huge pages.
//
// A huge page holds two megabytes, more than many a matrix: one that had memory of its own would lie in small pages, of which
// a processor finds its way to a few thousand only.
// Owner: a backend; each matrix keeps the block that it lies in.

/// Hands out memory block by block, one piece after the other.
final class Arena {
    private var block = Storage(byteCount: 0)
    /// Bytes of the block that are handed out.
    private var used = 0

    /// Bytes of a block. What nobody writes takes no memory.
    private static let blockBytes = 64 << 20

    /// `byteCount` uninitialised bytes.
    func take(_ byteCount: Int) -> Storage {
        let begin = (used + 63) / 64 * 64
        if begin + byteCount <= block.bytes.count {
            used = begin + byteCount
            return Storage(block, bytes: begin..<used)
        }
        block = Storage(byteCount: max(Self.blockBytes, byteCount))
        used = byteCount
        return Storage(block, bytes: 0..<byteCount)
    }

    /// Takes back the piece that was handed out last, which nobody may use again.
    func takeBack(_ last: Storage) { used -= last.bytes.count }
}
