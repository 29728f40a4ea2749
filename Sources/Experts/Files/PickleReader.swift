// PickleReader: runs the `data.pkl` of a `.pt` archive, in pickle protocol 2, with an allow-list.
//
// Goals, in order: safety with any bytes, then meaning as in Python, then speed. Nothing is executed: the only
// globals are those that tensors need, and calling anything else is refused. Python's containers are references, so
// objects live in a table and containers hold their numbers; only at the end do they become a value, within bounds on
// depth and total size, which stop cycles and objects that contain one another many times over.

/// The machine for one stream.
struct PickleReader {
    /// Containers inside one another.
    static let deepest = 64

    enum Object {
        case value(ArchiveValue)
        case list([Int])
        case tuple([Int])
        case dictionary([(key: Int, value: Int)])
        case global(Global)
        case storage(ArchiveElementType, bytes: UnsafeRawBufferPointer)
    }

    let stream: UnsafeRawBufferPointer
    let storage: (String) throws(ArchiveError) -> UnsafeRawBufferPointer?
    /// Those asked for: a checksum is verified once, however often a storage is named.
    var storages: [String: UnsafeRawBufferPointer] = [:]
    var at = 0
    var objects: [Object] = []
    private var stack: [Int] = []
    private var marks: [Int] = []
    private var memo: [Int: Int] = [:]
    /// Values that the result may still have, each use of a shared object counted.
    private var values: Int
    /// Bytes that tensors may still take: views may share a storage, but not without end.
    var tensorBytes: Int
    /// Bytes of tensors that the result may still have, each use of a shared one counted: readers copy them.
    private var usedBytes: Int

    /// A machine for `stream`; `storage` gives the bytes of the archive's entry `data/<key>`.
    init(
        _ stream: UnsafeRawBufferPointer, archiveSize: Int,
        storage: @escaping (String) throws(ArchiveError) -> UnsafeRawBufferPointer?
    ) {
        self.stream = stream
        self.storage = storage
        values = 4 * stream.count + (1 << 16)
        tensorBytes = 4 * archiveSize + (1 << 20)
        usedBytes = tensorBytes
    }

    /// Runs the stream to its end.
    mutating func read() throws(ArchiveError) -> ArchiveValue {
        guard try byte() == 0x80 else { throw .refused("its pickle does not begin with a protocol number") }
        let version = try byte()
        guard version == 2 else {
            throw .refused("its pickle has protocol \(version); save it with torch's default, 2")
        }
        while true {
            let opcode = try byte()
            if opcode == UInt8(ascii: ".") { break }
            try run(opcode)
        }
        guard stack.count == 1, marks.isEmpty, at == stream.count else {
            throw .damaged("the pickle does not end with one value")
        }
        return try value(stack[0], depth: 0)
    }

    private mutating func run(_ opcode: UInt8) throws(ArchiveError) {
        switch opcode {
        case UInt8(ascii: "N"): push(.value(.null))
        case 0x88: push(.value(.bool(true)))
        case 0x89: push(.value(.bool(false)))
        case UInt8(ascii: "K"): push(.value(.int(try number(1))))
        case UInt8(ascii: "M"): push(.value(.int(try number(2))))
        case UInt8(ascii: "J"): push(.value(.int(try number(4, signed: true))))
        case 0x8A: push(.value(.int(try number(try number(1), signed: true))))
        case UInt8(ascii: "G"):
            let bytes = try take(8)
            push(.value(.float(Double(bitPattern: bytes.reduce(0) { $0 << 8 | UInt64($1) }))))
        case UInt8(ascii: "X"):
            push(.value(.string(String(decoding: try take(try number(4)), as: UTF8.self))))
        case UInt8(ascii: "]"): push(.list([]))
        case UInt8(ascii: "}"): push(.dictionary([]))
        case UInt8(ascii: ")"): push(.tuple([]))
        case UInt8(ascii: "("): marks.append(stack.count)
        case UInt8(ascii: "t"): push(.tuple(try popToMark()))
        case 0x85...0x87: push(.tuple(try pop(Int(opcode) - 0x84)))
        case UInt8(ascii: "a"): try extendList(try pop(1))
        case UInt8(ascii: "e"): try extendList(try popToMark())
        case UInt8(ascii: "s"): try extendDictionary(try pop(2))
        case UInt8(ascii: "u"): try extendDictionary(try popToMark())
        case UInt8(ascii: "q"): memo[try number(1)] = try top()
        case UInt8(ascii: "r"): memo[try number(4)] = try top()
        case UInt8(ascii: "h"): try fetch(try number(1))
        case UInt8(ascii: "j"): try fetch(try number(4))
        case UInt8(ascii: "c"): try findGlobal()
        case UInt8(ascii: "Q"): try findStorage()
        case UInt8(ascii: "R"): try call()
        default:
            throw .refused("its pickle uses opcode \(opcode) at byte \(at - 1), which plain data do not need")
        }
    }

    // MARK: Containers

    private mutating func extendList(_ items: [Int]) throws(ArchiveError) {
        let list = try top()
        guard case .list(var members) = objects[list] else { throw .damaged("the pickle appends to what is no list") }
        objects[list] = .value(.null)  // or the append would copy
        members += items
        objects[list] = .list(members)
    }

    private mutating func extendDictionary(_ items: [Int]) throws(ArchiveError) {
        let dictionary = try top()
        guard case .dictionary(var members) = objects[dictionary], items.count % 2 == 0 else {
            throw .damaged("the pickle sets an item of what is no dictionary")
        }
        objects[dictionary] = .value(.null)
        for index in stride(from: 0, to: items.count, by: 2) { members.append((items[index], items[index + 1])) }
        objects[dictionary] = .dictionary(members)
    }

    /// The object as a value.
    private mutating func value(_ object: Int, depth: Int) throws(ArchiveError) -> ArchiveValue {
        values -= 1
        guard depth <= Self.deepest else { throw .refused("its containers lie more than \(Self.deepest) deep") }
        guard values >= 0 else { throw .refused("its containers hold one another far too often") }
        switch objects[object] {
        case .value(let value):
            if case .tensor(let tensor) = value {
                // Cannot overflow: the tensor exists.
                usedBytes -= tensor.elements.count * tensor.elements.type.sizeInBytes
                guard usedBytes >= 0 else { throw .refused("it uses its tensors far too often") }
            }
            return value
        case .list(let members): return .list(try list(members, depth: depth))
        case .tuple(let members): return .tuple(try list(members, depth: depth))
        case .dictionary(let members):
            var entries: [ArchiveValue.Entry] = []
            var places: [String: Int] = [:]
            for member in members {
                guard case .value(.string(let key)) = objects[member.key] else {
                    throw .refused("a dictionary has a key that is no string")
                }
                let entry = ArchiveValue.Entry(key, try value(member.value, depth: depth + 1))
                // As in Python, a key that comes again keeps its place and takes the new value.
                if let place = places[key] {
                    entries[place] = entry
                } else {
                    places[key] = entries.count
                    entries.append(entry)
                }
            }
            return .dictionary(entries)
        case .global, .storage: throw .refused("it holds a class or a storage where data should be")
        }
    }

    private mutating func list(_ members: [Int], depth: Int) throws(ArchiveError) -> [ArchiveValue] {
        var list: [ArchiveValue] = []
        list.reserveCapacity(members.count)
        for member in members { list.append(try value(member, depth: depth + 1)) }
        return list
    }

    // MARK: Stack and stream

    mutating func push(_ object: Object) {
        stack.append(objects.count)
        objects.append(object)
    }

    func top() throws(ArchiveError) -> Int {
        guard let top = stack.last, stack.count > marks.last ?? 0 else { throw .damaged("the pickle's stack is empty") }
        return top
    }

    mutating func pop() throws(ArchiveError) -> Int {
        let top = try top()
        stack.removeLast()
        return top
    }

    mutating func pop(_ count: Int) throws(ArchiveError) -> [Int] {
        guard stack.count - (marks.last ?? 0) >= count else { throw .damaged("the pickle's stack is empty") }
        defer { stack.removeLast(count) }
        return Array(stack.suffix(count))
    }

    private mutating func popToMark() throws(ArchiveError) -> [Int] {
        guard let mark = marks.popLast() else { throw .damaged("the pickle's mark is missing") }
        defer { stack.removeSubrange(mark...) }
        return Array(stack[mark...])
    }

    private mutating func fetch(_ index: Int) throws(ArchiveError) {
        guard let object = memo[index] else { throw .damaged("the pickle fetches what it never remembered") }
        stack.append(object)
    }

    private mutating func take(_ count: Int) throws(ArchiveError) -> Slice<UnsafeRawBufferPointer> {
        guard count >= 0, count <= stream.count - at else { throw .damaged("the pickle is cut off") }
        defer { at += count }
        return stream[at..<at + count]
    }

    private mutating func byte() throws(ArchiveError) -> UInt8 {
        guard at < stream.count else { throw .damaged("the pickle is cut off") }
        defer { at += 1 }
        return stream[at]
    }

    /// The little-endian number in the next `length` bytes.
    private mutating func number(_ length: Int, signed: Bool = false) throws(ArchiveError) -> Int {
        guard length <= 8 else { throw .refused("it holds a whole number of more than 64 bits") }
        let bits = try take(length).reversed().reduce(0 as UInt64) { $0 << 8 | UInt64($1) }
        guard signed, length > 0 else { return Int(truncatingIfNeeded: bits) }
        let shift = 64 - 8 * length
        return Int(truncatingIfNeeded: Int64(bitPattern: bits << shift) >> shift)
    }

    mutating func line() throws(ArchiveError) -> String {
        guard let end = stream[at...].prefix(256).firstIndex(of: 10) else { throw .damaged("the pickle is cut off") }
        defer { at = end + 1 }
        return String(decoding: stream[at..<end], as: UTF8.self)
    }
}
