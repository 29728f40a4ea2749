// StoredZip: a ZIP file written front to back, entries stored and aligned to 64 bytes.
//
// Source: PKWARE's APPNOTE, sections 4.3.7 (local header), 4.3.12 (central directory) and 4.3.16 (its end).

/// Writes local entries as they come and remembers what the directory at the end needs.
struct StoredZip {
    static let alignment = 64

    private var directory: [UInt8] = []
    private var offset = 0
    private var entryCount = 0

    /// Writes one entry.
    mutating func add(
        _ name: String, _ data: UnsafeRawBufferPointer, to sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        let nameBytes = Array(name.utf8)
        // Signature and fixed fields take 30 bytes, the extra field's own head 4.
        let headEnd = offset + 30 + nameBytes.count + 4
        let filler = (Self.alignment - headEnd % Self.alignment) % Self.alignment
        guard headEnd + filler + data.count <= Int(UInt32.max) else {
            throw ArchiveError.tooLarge(sizeInBytes: headEnd + filler + data.count)
        }
        let shared = sharedFields(crc: CRC32.checksum(data), size: data.count, nameLength: nameBytes.count)

        var head: [UInt8] = []
        head.append(little: 0x0403_4B50 as UInt32)
        head += shared
        head.append(little: UInt16(4 + filler))
        head += nameBytes
        head.append(little: 0x4246 as UInt16)  // "FB": filler, ignored by readers
        head.append(little: UInt16(filler))
        head += [UInt8](repeating: 0x5A, count: filler)

        directory.append(little: 0x0201_4B50 as UInt32)
        directory.append(little: 20 as UInt16)  // made by: version 2.0
        directory += shared
        directory.append(little: 0 as UInt16)  // no extra field
        directory.append(little: 0 as UInt16)  // no comment
        directory.append(little: 0 as UInt16)  // disk 0
        directory.append(little: 0 as UInt16)  // internal attributes
        directory.append(little: 0 as UInt32)  // external attributes
        directory.append(little: UInt32(offset))
        directory += nameBytes

        try head.withUnsafeBytes(sink)
        if !data.isEmpty { try sink(data) }
        offset += head.count + data.count
        entryCount += 1
    }

    /// Writes the directory and its end.
    func finish(to sink: (UnsafeRawBufferPointer) throws -> Void) throws {
        guard offset + directory.count + 22 <= Int(UInt32.max), entryCount < Int(UInt16.max) else {
            throw ArchiveError.tooLarge(sizeInBytes: offset + directory.count + 22)
        }
        var end = directory
        end.append(little: 0x0605_4B50 as UInt32)
        end.append(little: 0 as UInt16)  // this disk
        end.append(little: 0 as UInt16)  // the directory's disk
        end.append(little: UInt16(entryCount))
        end.append(little: UInt16(entryCount))
        end.append(little: UInt32(directory.count))
        end.append(little: UInt32(offset))
        end.append(little: 0 as UInt16)  // no comment
        try end.withUnsafeBytes(sink)
    }

    /// The fields that local header and directory have in common: versions to the name's length.
    private func sharedFields(crc: UInt32, size: Int, nameLength: Int) -> [UInt8] {
        var fields: [UInt8] = []
        fields.append(little: 20 as UInt16)  // needed to extract: version 2.0
        fields.append(little: 0x0800 as UInt16)  // names are UTF-8
        fields.append(little: 0 as UInt16)  // stored
        fields.append(little: 0 as UInt16)  // time 00:00
        fields.append(little: 0x0021 as UInt16)  // date 1980-01-01: equal data make equal files
        fields.append(little: crc)
        fields.append(little: UInt32(size))
        fields.append(little: UInt32(size))
        fields.append(little: UInt16(nameLength))
        return fields
    }
}

/// CRC-32 with the reflected polynomial 0xEDB88320, eight bytes at a time: the checksums of a byte followed by 0 ... 7
/// zero bytes are tabulated, and those of eight neighbours combine by exclusive or.
enum CRC32 {
    /// `[8, 256]`: the byte, then so many zero bytes.
    private static let table: [UInt32] = {
        var table: [UInt32] = []
        for byte in 0..<256 as Range<UInt32> {
            var value = byte
            for _ in 0..<8 { value = value & 1 == 1 ? value >> 1 ^ 0xEDB8_8320 : value >> 1 }
            table.append(value)
        }
        for index in 0..<7 * 256 {
            let shorter = table[index]
            table.append(shorter >> 8 ^ table[Int(shorter & 0xFF)])
        }
        return table
    }()

    static func checksum(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
        table.withUnsafeBufferPointer { table in
            var sum = ~0 as UInt32
            let whole = bytes.count & ~7
            for offset in stride(from: 0, to: whole, by: 8) {
                var eight = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
                eight ^= UInt64(sum)
                sum = 0
                for place in 0..<8 {
                    sum ^= table[(7 - place) * 256 + Int(eight & 0xFF)]
                    eight >>= 8
                }
            }
            for byte in bytes[whole...] { sum = table[Int(UInt8(truncatingIfNeeded: sum) ^ byte)] ^ sum >> 8 }
            return ~sum
        }
    }
}

extension [UInt8] {
    fileprivate mutating func append(little value: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
    }
}
