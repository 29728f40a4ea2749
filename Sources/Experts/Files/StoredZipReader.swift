// StoredZipReader: finds the entries of a ZIP file whose entries are stored, by the directory at its end.
//
// Goals, in order: safety with any bytes, then clear refusals, then speed. Every offset is checked against the file,
// entries may not overlap, and an entry's checksum is verified when its data are asked for.
// Source: PKWARE's APPNOTE, sections 4.3.7 (local header), 4.3.12 (directory), 4.3.14-4.3.16 (its ends, with Zip64).

/// The directory of one ZIP file.
struct StoredZipReader {
    /// A stored file.
    struct Entry {
        /// With folders, separated by `/`.
        var name: String
        fileprivate var header: Int
        fileprivate var range: Range<Int>
        fileprivate var checksum: UInt32
    }

    /// In the directory's order.
    private(set) var entries: [Entry] = []
    private var places: [String: Int] = [:]
    private let file: UnsafeRawBufferPointer

    /// Reads and checks the directory of `file`.
    init(_ file: UnsafeRawBufferPointer) throws(ArchiveError) {
        self.file = file
        guard file.count >= 4, file.little32(0) == 0x0403_4B50 else {
            if file.count >= 2, file[0] == 0x80 {
                throw .refused("it has the format from before torch 1.6; load it there and save it again")
            }
            throw .damaged("\(file.count) bytes that do not begin like a ZIP file")
        }
        let end = try Self.end(of: file)
        var at = end.directory.lowerBound
        for _ in 0..<end.count {
            let entry = try Self.entry(in: file, at: &at, limit: end.directory.upperBound)
            guard places.updateValue(entries.count, forKey: entry.name) == nil else {
                throw .damaged("two entries are named \(entry.name)")
            }
            entries.append(entry)
        }
        guard at == end.directory.upperBound else {
            throw .damaged("its directory does not end where it should")
        }
        let inOrder = entries.sorted { $0.header < $1.header }
        for (before, after) in zip(inOrder, inOrder.dropFirst()) where after.header < before.range.upperBound {
            throw .damaged("the entries \(before.name) and \(after.name) overlap")
        }
        if let last = inOrder.last, last.range.upperBound > end.directory.lowerBound {
            throw .damaged("the entry \(last.name) overlaps the directory")
        }
    }

    /// The data of the entry `name`; nil if there is none.
    func data(_ name: String) throws(ArchiveError) -> UnsafeRawBufferPointer? {
        guard let place = places[name] else { return nil }
        return try data(of: entries[place])
    }

    /// The data of an entry of this file.
    func data(of entry: Entry) throws(ArchiveError) -> UnsafeRawBufferPointer {
        let bytes = UnsafeRawBufferPointer(rebasing: file[entry.range])
        guard CRC32.checksum(bytes) == entry.checksum else { throw .damaged("the checksum of \(entry.name) is wrong") }
        return bytes
    }

    /// Where the directory lies and how many entries it lists.
    private static func end(
        of file: UnsafeRawBufferPointer
    ) throws(ArchiveError) -> (directory: Range<Int>, count: Int) {
        // The end has 22 bytes and a comment of at most 65535 after them.
        var at = file.count - 22
        let lowest = max(0, at - 65535)
        while at >= lowest, file.little32(at) != 0x0605_4B50 || at + 22 + file.little16(at + 20) != file.count {
            at -= 1
        }
        guard at >= lowest else { throw .damaged("the directory at the end is missing, so the file is cut off") }
        var count = file.little16(at + 10)
        var size = file.little32(at + 12)
        var start = file.little32(at + 16)
        var limit = at
        if at >= 20, file.little32(at - 20) == 0x0706_4B50 {
            guard let wide = file.little64(at - 12), wide >= 0, wide <= at - 20 - 56,
                file.little32(wide) == 0x0606_4B50,
                let wideCount = file.little64(wide + 32), let wideSize = file.little64(wide + 40),
                let wideStart = file.little64(wide + 48)
            else { throw .damaged("its Zip64 directory end is not where it should be") }
            (count, size, start, limit) = (wideCount, wideSize, wideStart, wide)
        }
        // Each listed entry takes 46 bytes and more.
        guard start >= 0, size >= 0, start <= limit, size <= limit - start, count >= 0, count <= size / 46 else {
            throw .damaged("its directory does not fit the file")
        }
        return (start..<start + size, count)
    }

    /// The entry that the directory lists at `at`, which moves on to the next.
    private static func entry(
        in file: UnsafeRawBufferPointer, at: inout Int, limit: Int
    ) throws(ArchiveError) -> Entry {
        guard limit - at >= 46, file.little32(at) == 0x0201_4B50 else { throw .damaged("its directory is cut off") }
        let flags = file.little16(at + 8)
        let method = file.little16(at + 10)
        let nameLength = file.little16(at + 28)
        let extraLength = file.little16(at + 30)
        let next = at + 46 + nameLength + extraLength + file.little16(at + 32)
        guard next <= limit else { throw .damaged("its directory is cut off") }
        let nameBytes = file[at + 46..<at + 46 + nameLength]
        let name = String(decoding: nameBytes, as: UTF8.self)
        var sizes = [file.little32(at + 24), file.little32(at + 20), file.little32(at + 42)]
        try widen(&sizes, extra: file[at + 46 + nameLength..<at + 46 + nameLength + extraLength], of: name)
        let (size, packed, header) = (sizes[0], sizes[1], sizes[2])
        guard flags & 1 == 0 else { throw .refused("the entry \(name) is encrypted") }
        guard method == 0, packed == size else {
            throw .refused("the entry \(name) is compressed; torch.save stores its entries plainly")
        }
        guard header <= file.count - 30, file.little32(header) == 0x0403_4B50 else {
            throw .damaged("the entry \(name) is not where the directory says")
        }
        let start = header + 30 + file.little16(header + 26) + file.little16(header + 28)
        guard start <= file.count, size <= file.count - start, file.little16(header + 26) == nameLength,
            file[header + 30..<header + 30 + nameLength].elementsEqual(nameBytes)
        else { throw .damaged("the entry \(name) does not fit the file") }
        defer { at = next }
        return Entry(
            name: name, header: header, range: start..<start + size,
            checksum: UInt32(truncatingIfNeeded: file.little32(at + 16)))
    }

    /// Replaces sizes of 2^32 - 1 by those in the Zip64 extra field: size, packed size, offset, as far as needed.
    private static func widen(
        _ sizes: inout [Int], extra: Slice<UnsafeRawBufferPointer>, of name: String
    ) throws(ArchiveError) {
        guard sizes.contains(0xFFFF_FFFF) else { return }
        let extra = UnsafeRawBufferPointer(rebasing: extra)
        var at = 0
        while at + 4 <= extra.count {
            let length = extra.little16(at + 2)
            if extra.little16(at) == 1, at + 4 + length <= extra.count {
                let field = UnsafeRawBufferPointer(rebasing: extra[at + 4..<at + 4 + length])
                var offset = 0
                for index in sizes.indices where sizes[index] == 0xFFFF_FFFF {
                    guard offset + 8 <= field.count, let wide = field.little64(offset), wide >= 0 else { break }
                    sizes[index] = wide
                    offset += 8
                }
                return
            }
            at += 4 + length
        }
    }
}

extension UnsafeRawBufferPointer {
    fileprivate func little16(_ offset: Int) -> Int {
        Int(UInt16(littleEndian: loadUnaligned(fromByteOffset: offset, as: UInt16.self)))
    }

    fileprivate func little32(_ offset: Int) -> Int {
        Int(UInt32(littleEndian: loadUnaligned(fromByteOffset: offset, as: UInt32.self)))
    }

    /// nil for what an Int cannot hold.
    fileprivate func little64(_ offset: Int) -> Int? {
        Int(exactly: UInt64(littleEndian: loadUnaligned(fromByteOffset: offset, as: UInt64.self)))
    }
}
