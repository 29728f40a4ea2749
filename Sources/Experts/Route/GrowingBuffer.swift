// GrowingBuffer: reusable memory that starts uninitialised.

/// Uninitialised memory that grows by at least half and is never copied: contents do not survive growth.
struct GrowingBuffer<Element: BitwiseCopyable> {
    private(set) var base: UnsafeMutablePointer<Element>?
    private var capacity = 0

    /// Room for `count` elements, at least one.
    mutating func reserve(_ count: Int) -> UnsafeMutablePointer<Element> {
        if let base, count <= capacity { return base }
        base?.deallocate()
        capacity = max(count, capacity + capacity / 2, 16)
        let grown = UnsafeMutablePointer<Element>.allocate(capacity: capacity)
        base = grown
        return grown
    }

    func free() { base?.deallocate() }
}
