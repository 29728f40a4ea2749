// ArchiveReader: the entries of a `.pt` archive as they lie, to check the writer against torch byte for byte.
//
// Plain and strict: it shares no code with the writer, down to the checksum.

import Experts
import Foundation

/// Something that the archive should not contain.
struct ArchiveFault: Error, Equatable {
    var message: String
    init(_ message: String) { self.message = message }
}

/// The entries of a stored ZIP file, by the directory at its end.
struct StoredEntries {
    struct Entry {
        var name: String
        var data: [UInt8]
        /// Where the data begin in the file.
        var offset: Int
    }

    /// In directory order.
    var entries: [Entry] = []
    private let file: [UInt8]

    init(_ file: [UInt8]) throws {
        self.file = file
        guard file.count >= 22, file.little(file.count - 22, 4) == 0x0605_4B50 else { throw ArchiveFault("no end") }
        let count = file.little(file.count - 12, 2)
        let directoryEnd = file.little(file.count - 6, 4) + file.little(file.count - 10, 4)
        var at = file.little(file.count - 6, 4)
        for _ in 0..<count {
            guard file.little(at, 4) == 0x0201_4B50, file.little(at + 10, 2) == 0 else { throw ArchiveFault("entry") }
            let size = file.little(at + 24, 4)
            let nameLength = file.little(at + 28, 2)
            let name = String(decoding: file[at + 46..<at + 46 + nameLength], as: UTF8.self)
            let local = file.little(at + 42, 4)
            guard file.little(local, 4) == 0x0403_4B50 else { throw ArchiveFault("local header of \(name)") }
            let data = local + 30 + file.little(local + 26, 2) + file.little(local + 28, 2)
            let bytes = Array(file[data..<data + size])
            guard bytes.checksum == file.little(at + 16, 4) else { throw ArchiveFault("checksum of \(name)") }
            entries.append(Entry(name: name, data: bytes, offset: data))
            at += 46 + nameLength + file.little(at + 30, 2) + file.little(at + 32, 2)
        }
        guard at == directoryEnd else { throw ArchiveFault("directory size") }
    }

    /// The one folder that all entries share.
    func root() throws -> String {
        let roots = Set(entries.map { $0.name.prefix { $0 != "/" } })
        guard roots.count == 1, let root = roots.first else { throw ArchiveFault("roots \(roots)") }
        return String(root)
    }

    /// The data of the entry `name` below the root.
    func data(_ name: String) throws -> [UInt8] {
        let full = try root() + "/" + name
        guard let entry = entries.first(where: { $0.name == full }) else { throw ArchiveFault("no \(full)") }
        return entry.data
    }

    /// The value that the archive holds.
    func value() throws -> ArchiveValue { try PyTorchArchive.read(file) }
}

extension [UInt8] {
    /// The little-endian number of `length` bytes at `offset`.
    fileprivate func little(_ offset: Int, _ length: Int) -> Int {
        (0..<length).reduce(0) { $0 | Int(self[offset + $1]) << (8 * $1) }
    }

    /// CRC-32, bit by bit.
    fileprivate var checksum: Int {
        var value = ~0 as UInt32
        for byte in self {
            value ^= UInt32(byte)
            for _ in 0..<8 { value = value & 1 == 1 ? value >> 1 ^ 0xEDB8_8320 : value >> 1 }
        }
        return Int(~value)
    }
}
