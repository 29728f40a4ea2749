// LoadSet: which loads occur in a list, so that one look tells whether one of them lies in a small range.
//
// Goals in order: no load of the range is missed, speed of a look.
// Method: loads are rounded down to whole units; each has a bit, and a look reads all bits of the range at once. Unlike
//         steps along a list, looks do not wait for one another.

/// A set of loads in whole units.
struct LoadSet: ~Copyable {
    /// The largest load.
    static let most: Int32 = 4096
    /// The largest width of a range.
    static let widest = 56

    /// Bits before that of load 0, so that a range may begin below 0.
    private static let margin = most + 64
    /// Bits to the largest load, and as many as a look reads.
    private static let bytes = Int(margin + most) / 8 + 8
    private let bits: UnsafeMutableRawPointer

    /// An empty set.
    init() {
        bits = .allocate(byteCount: Self.bytes, alignment: 8)
        clear()
    }

    deinit { bits.deallocate() }

    /// Removes all loads.
    func clear() { bits.initializeMemory(as: UInt8.self, repeating: 0, count: Self.bytes) }

    /// Adds a load, 0 to `most`.
    func insert(_ load: Int32) { byte(of: load).pointee |= 1 << (load & 7) }

    /// Removes a load.
    func remove(_ load: Int32) { byte(of: load).pointee &= ~(1 << (load & 7)) }

    private func byte(of load: Int32) -> UnsafeMutablePointer<UInt8> {
        (bits + Int(Self.margin + load) / 8).assumingMemoryBound(to: UInt8.self)
    }

    /// Looks for a load in a range.
    ///
    /// - Parameters:
    ///   - low: its lower end, at least `-most - 64`.
    ///   - mask: as many ones as it is wide, at most `widest`.
    /// - Returns: whether a load lies in it.
    @inline(__always) func hasLoad(from low: Int32, _ mask: UInt64) -> Bool {
        let place = UInt32(bitPattern: Self.margin &+ low)
        return bits.loadUnaligned(fromByteOffset: Int(place >> 3), as: UInt64.self) &>> UInt64(place & 7) & mask != 0
    }
}
