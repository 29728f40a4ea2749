// StoredArchive: a ZIP file with stored entries, taken apart and put together again with correct checksums, so that what is
// changed inside is read and not refused at the door.

/// A ZIP file whose entries are all stored.
struct StoredArchive: Sendable {
    private var entries: [(name: [UInt8], data: [UInt8])] = []

    /// No archive that this reader understands.
    struct Unreadable: Error {}

    /// Takes a whole file apart.
    init(_ file: [UInt8]) throws {
        func integer(_ offset: Int, _ count: Int) -> Int {
            (0..<count).reversed().reduce(0) { $0 << 8 | Int(file[offset + $1]) }
        }
        guard let end = file.indices.dropLast(21).last(where: { integer($0, 4) == 0x0605_4B50 }) else {
            throw Unreadable()
        }
        var place = integer(end + 16, 4)
        for _ in 0..<integer(end + 10, 2) {
            let (size, name) = (integer(place + 24, 4), integer(place + 28, 2))
            let local = integer(place + 42, 4)
            let data = local + 30 + integer(local + 26, 2) + integer(local + 28, 2)
            entries.append((Array(file[place + 46..<place + 46 + name]), Array(file[data..<data + size])))
            place += 46 + name + integer(place + 30, 2) + integer(place + 32, 2)
        }
    }

    /// The entry `data.pkl`.
    var pickle: [UInt8] { entries.first { Self.isPickle($0.name) }?.data ?? [] }

    /// The archive with another entry `data.pkl`.
    func bytes(pickle: [UInt8]) -> [UInt8] {
        var (file, directory): ([UInt8], [UInt8]) = ([], [])
        func append(_ value: Int, _ count: Int, to bytes: inout [UInt8]) {
            for byte in 0..<count { bytes.append(UInt8(truncatingIfNeeded: value >> (8 * byte))) }
        }
        for entry in entries {
            let data = Self.isPickle(entry.name) ? pickle : entry.data
            let place = file.count
            var shared: [UInt8] = []
            for (value, count) in [(20, 2), (0, 2), (0, 2), (0, 4), (Self.checksum(data), 4), (data.count, 4)] {
                append(value, count, to: &shared)
            }
            append(data.count, 4, to: &shared)
            append(entry.name.count, 2, to: &shared)
            append(0, 2, to: &shared)
            file += [0x50, 0x4B, 3, 4] + shared + entry.name + data
            directory += [0x50, 0x4B, 1, 2, 20, 0] + shared + [UInt8](repeating: 0, count: 10)
            append(place, 4, to: &directory)
            directory += entry.name
        }
        let start = file.count
        file += directory + [0x50, 0x4B, 5, 6, 0, 0, 0, 0]
        append(entries.count, 2, to: &file)
        append(entries.count, 2, to: &file)
        append(directory.count, 4, to: &file)
        append(start, 4, to: &file)
        return file + [0, 0]
    }

    private static func isPickle(_ name: [UInt8]) -> Bool { name.suffix(9).elementsEqual("/data.pkl".utf8) }

    private static let table: [UInt32] = (0..<256).map { byte in
        (0..<8).reduce(UInt32(byte)) { value, _ in value & 1 == 1 ? value >> 1 ^ 0xEDB8_8320 : value >> 1 }
    }

    /// CRC-32, as ZIP files have it.
    private static func checksum(_ data: [UInt8]) -> Int {
        Int(~data.reduce(UInt32.max) { $0 >> 8 ^ table[Int(UInt8(truncatingIfNeeded: $0) ^ $1)] })
    }
}
