// ArchiveReader: an independent reader of `.pt` archives, to check the writer and to read golden files.
//
// Plain and strict: it throws on anything that a stored archive of dictionaries, lists, numbers and tensors does not
// need. It shares no code with the writer, down to the checksum.

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

    init(_ file: [UInt8]) throws {
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
    func value() throws -> ArchiveValue {
        var machine = PickleMachine(stream: try data("data.pkl"), storage: { try data("data/" + $0) })
        return try machine.run()
    }
}

/// The few opcodes of pickle protocol 2 that dumps use.
private struct PickleMachine {
    indirect enum Item {
        case value(ArchiveValue)
        case tuple([Item])
        case global(String)
        case storage(kind: String, key: String, count: Int)
        case hooks
        case mark
    }

    let stream: [UInt8]
    let storage: (String) throws -> [UInt8]
    var at = 2
    var stack: [Item] = []
    var memo: [Int: Item] = [:]

    init(stream: [UInt8], storage: @escaping (String) throws -> [UInt8]) {
        self.stream = stream
        self.storage = storage
    }

    mutating func run() throws -> ArchiveValue {
        guard stream.starts(with: [0x80, 2]) else { throw ArchiveFault("protocol") }
        while at < stream.count {
            let opcode = stream[at]
            at += 1
            switch opcode {
            case UInt8(ascii: "."):
                guard at == stream.count, stack.count == 1 else { throw ArchiveFault("end of stream") }
                return try value(pop())
            case UInt8(ascii: "N"): push(.null)
            case 0x88: push(.bool(true))
            case 0x89: push(.bool(false))
            case UInt8(ascii: "K"): push(.int(number(1)))
            case UInt8(ascii: "M"): push(.int(number(2)))
            case UInt8(ascii: "J"): push(.int(Int(Int32(truncatingIfNeeded: number(4)))))
            case 0x8A:
                let length = number(1)
                let unsigned = number(length)
                let shift = 64 - 8 * length
                push(.int((unsigned << shift) >> shift))
            case UInt8(ascii: "G"): push(.float(Double(bitPattern: UInt64(bitPattern: Int64(number(8))).byteSwapped)))
            case UInt8(ascii: "X"): push(.string(text(number(4))))
            case UInt8(ascii: "]"): push(.list([]))
            case UInt8(ascii: "}"): push(.dictionary([]))
            case UInt8(ascii: ")"): stack.append(.tuple([]))
            case UInt8(ascii: "("): stack.append(.mark)
            case UInt8(ascii: "t"): stack.append(.tuple(try popToMark()))
            case 0x85...0x87: stack.append(.tuple(try pop(count: Int(opcode) - 0x84)))
            case UInt8(ascii: "a"): try extendList(pop(count: 1))
            case UInt8(ascii: "e"): try extendList(popToMark())
            case UInt8(ascii: "s"): try extendDictionary(pop(count: 2))
            case UInt8(ascii: "u"): try extendDictionary(popToMark())
            case UInt8(ascii: "q"): memo[number(1)] = stack.last
            case UInt8(ascii: "r"): memo[number(4)] = stack.last
            case UInt8(ascii: "h"): try fetch(number(1))
            case UInt8(ascii: "j"): try fetch(number(4))
            case UInt8(ascii: "c"): stack.append(.global(line() + "." + line()))
            case UInt8(ascii: "Q"): try loadStorage()
            case UInt8(ascii: "R"): try reduce()
            default: throw ArchiveFault("opcode \(opcode) at \(at - 1)")
            }
        }
        throw ArchiveFault("no stop")
    }

    private mutating func loadStorage() throws {
        guard case .tuple(let parts) = try pop(), parts.count == 5, case .global(let kind) = parts[1],
            case .value(.string("storage")) = parts[0], case .value(.string(let key)) = parts[2],
            case .value(.string("cpu")) = parts[3], case .value(.int(let count)) = parts[4]
        else { throw ArchiveFault("persistent id") }
        stack.append(.storage(kind: kind, key: key, count: count))
    }

    private mutating func reduce() throws {
        guard case .tuple(let arguments) = try pop(), case .global(let name) = try pop() else {
            throw ArchiveFault("reduce")
        }
        if name == "collections.OrderedDict", arguments.isEmpty { return stack.append(.hooks) }
        guard name == "torch._utils._rebuild_tensor_v2", arguments.count == 6,
            case .storage(let kind, let key, let count) = arguments[0], case .value(.int(0)) = arguments[1],
            case .tuple(let shape) = arguments[2], case .tuple(let strides) = arguments[3],
            case .value(.bool(false)) = arguments[4], case .hooks = arguments[5]
        else { throw ArchiveFault("\(name) of \(arguments.count)") }
        let sizes = try shape.map(int)
        var step = 1
        for (size, stride) in zip(sizes, try strides.map(int)).reversed() {
            guard stride == step else { throw ArchiveFault("strides") }
            step *= max(1, size)
        }
        let bytes = try storage(key)
        let elements: ArchiveTensor.Elements
        switch kind {
        case "torch.IntStorage":
            elements = .int32((0..<count).map { Int32(truncatingIfNeeded: bytes.little(4 * $0, 4)) })
        case "torch.LongStorage":
            elements = .int64((0..<count).map { Int64(bytes.little(8 * $0, 8)) })
        case "torch.FloatStorage":
            elements = .float32((0..<count).map { Float(bitPattern: UInt32(bytes.little(4 * $0, 4))) })
        default: throw ArchiveFault(kind)
        }
        push(.tensor(ArchiveTensor(shape: sizes, elements: elements)))
    }

    private mutating func extendList(_ items: [Item]) throws {
        guard case .value(.list(let values)) = try pop() else { throw ArchiveFault("append") }
        push(.list(values + (try items.map(value))))
    }

    private mutating func extendDictionary(_ items: [Item]) throws {
        guard case .value(.dictionary(var entries)) = try pop() else { throw ArchiveFault("set item") }
        for index in stride(from: 0, to: items.count, by: 2) {
            guard case .value(.string(let key)) = items[index] else { throw ArchiveFault("key") }
            entries.append(.init(key, try value(items[index + 1])))
        }
        push(.dictionary(entries))
    }

    private mutating func push(_ value: ArchiveValue) { stack.append(.value(value)) }

    private mutating func pop() throws -> Item {
        guard let item = stack.popLast() else { throw ArchiveFault("empty stack") }
        return item
    }

    private mutating func pop(count: Int) throws -> [Item] {
        try (0..<count).map { _ in try pop() }.reversed()
    }

    private mutating func popToMark() throws -> [Item] {
        var items: [Item] = []
        while true {
            let item = try pop()
            if case .mark = item { return items.reversed() }
            items.append(item)
        }
    }

    private mutating func fetch(_ index: Int) throws {
        guard let item = memo[index] else { throw ArchiveFault("memo \(index)") }
        stack.append(item)
    }

    private func value(_ item: Item) throws -> ArchiveValue {
        guard case .value(let value) = item else { throw ArchiveFault("not a value") }
        return value
    }

    private func int(_ item: Item) throws -> Int {
        guard case .value(.int(let value)) = item else { throw ArchiveFault("not a number") }
        return value
    }

    private mutating func number(_ length: Int) -> Int {
        defer { at += length }
        return stream.little(at, length)
    }

    private mutating func text(_ length: Int) -> String {
        defer { at += length }
        return String(decoding: stream[at..<at + length], as: UTF8.self)
    }

    private mutating func line() -> String {
        let end = stream[at...].firstIndex(of: 10) ?? stream.endIndex
        defer { at = end + 1 }
        return String(decoding: stream[at..<end], as: UTF8.self)
    }
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
