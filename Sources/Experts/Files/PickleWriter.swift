// PickleWriter: the `data.pkl` of a `.pt` archive, in pickle protocol 2.
//
// A tensor is _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks); its storage is a persistent id
// ("storage", class, key, "cpu", element count), and the elements lie in the archive's entry `data/<key>`.
// Everything that may be shared is remembered in the memo, as the reference pickler does, and globals and strings are
// fetched from it when they come again: with equal values the bytes are equal too.

/// Writes one value and collects the tensors it met.
struct PickleWriter {
    /// The stream so far; complete after `write`.
    private(set) var bytes: [UInt8] = []
    /// The tensors met, in the order of their storage keys 0, 1, ….
    private(set) var tensors: [ArchiveTensor] = []
    /// Memo numbers of strings, and of globals under their two-line names.
    private var memo: [String: Int] = [:]
    private var memoCount = 0

    /// The stream of one value.
    init(_ value: ArchiveValue) {
        bytes = [0x80, 2]
        write(value)
        code(".")
    }

    private mutating func write(_ value: ArchiveValue) {
        switch value {
        case .null: code("N")
        case .bool(let value): bytes.append(value ? 0x88 : 0x89)
        case .int(let value): write(value)
        case .float(let value):
            code("G")
            withUnsafeBytes(of: value.bitPattern.bigEndian) { bytes.append(contentsOf: $0) }
        case .string(let value): write(value)
        case .list(let values):
            code("]")
            remember()
            writeItems(values, one: "a", many: "e") { $0.write($1) }
        case .tuple(let values): write(tuple: values)
        case .dictionary(let entries):
            code("}")
            remember()
            writeItems(entries, one: "s", many: "u") {
                $0.write($1.key)
                $0.write($1.value)
            }
        case .tensor(let tensor): write(tensor)
        }
    }

    /// A lone item by the opcode `one`, more in marked batches of at most 1000 by the opcode `many`.
    private mutating func writeItems<Item>(
        _ items: [Item], one: Character, many: Character, _ write: (inout PickleWriter, Item) -> Void
    ) {
        if items.count == 1 {
            write(&self, items[0])
            return code(one)
        }
        for start in stride(from: 0, to: items.count, by: 1000) {
            code("(")
            for item in items[start..<min(start + 1000, items.count)] { write(&self, item) }
            code(many)
        }
    }

    private mutating func write(_ value: Int) {
        if let byte = UInt8(exactly: value) {
            code("K")
            bytes.append(byte)
        } else if let short = UInt16(exactly: value) {
            code("M")
            append(short)
        } else if let word = Int32(exactly: value) {
            code("J")
            append(word)
        } else {
            // The shortest two's complement that keeps the sign.
            let width = (value < 0 ? ~value : value).bitWidth - (value < 0 ? ~value : value).leadingZeroBitCount
            let length = width / 8 + 1
            bytes.append(0x8A)
            bytes.append(UInt8(length))
            for index in 0..<length { bytes.append(UInt8(truncatingIfNeeded: value >> (8 * index))) }
        }
    }

    private mutating func write(_ value: String) {
        if fetch(value) { return }
        code("X")
        append(UInt32(value.utf8.count))
        bytes.append(contentsOf: value.utf8)
        remember(value)
    }

    private mutating func writeGlobal(_ module: String, _ name: String) {
        let lines = "\(module)\n\(name)\n"
        // A leading control character keeps globals apart from strings of the same text.
        if fetch("\u{1}" + lines) { return }
        code("c")
        bytes.append(contentsOf: lines.utf8)
        remember("\u{1}" + lines)
    }

    private mutating func write(_ tensor: ArchiveTensor) {
        writeGlobal("torch._utils", "_rebuild_tensor_v2")
        code("(")

        code("(")
        write("storage")
        writeGlobal("torch", tensor.elements.type.storageClass)
        write(String(tensors.count))
        write("cpu")
        write(tensor.elements.count)
        code("t")
        remember()
        code("Q")
        tensors.append(tensor)

        write(0)
        write(tuple: tensor.shape.map(ArchiveValue.int))
        write(tuple: tensor.strides.map(ArchiveValue.int))
        write(.bool(false))
        writeGlobal("collections", "OrderedDict")
        code(")")
        code("R")
        remember()
        code("t")
        remember()
        code("R")
        remember()
    }

    private mutating func write(tuple values: [ArchiveValue]) {
        if values.isEmpty { return code(")") }
        if values.count > 3 { code("(") }
        for value in values { write(value) }
        if values.count > 3 { code("t") } else { bytes.append(0x84 + UInt8(values.count)) }
        remember()
    }

    private mutating func code(_ opcode: Character) {
        bytes.append(contentsOf: opcode.utf8)
    }

    /// Gives the value on top of the reader's stack the next memo number, under `key` if it may be fetched again.
    private mutating func remember(_ key: String? = nil) {
        if let key { memo[key] = memoCount }
        writeMemo(memoCount, short: "q", long: "r")
        memoCount += 1
    }

    private mutating func fetch(_ key: String) -> Bool {
        guard let index = memo[key] else { return false }
        writeMemo(index, short: "h", long: "j")
        return true
    }

    private mutating func writeMemo(_ index: Int, short: Character, long: Character) {
        if let byte = UInt8(exactly: index) {
            code(short)
            bytes.append(byte)
        } else {
            code(long)
            append(UInt32(index))
        }
    }

    private mutating func append(_ value: some FixedWidthInteger) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }
}
