// What a pickle may name and call: exactly what tensors need. Every view is checked against its storage.

extension PickleReader {
    /// What may be named.
    enum Global {
        case rebuildTensor, orderedDictionary, size
        case storage(ArchiveElementType)

        init?(module: String, name: String) {
            switch (module, name) {
            case ("torch._utils", "_rebuild_tensor_v2"): self = .rebuildTensor
            case ("collections", "OrderedDict"): self = .orderedDictionary
            case ("torch", "Size"): self = .size
            case ("torch", _):
                guard let type = ArchiveElementType(rawValue: name) else { return nil }
                self = .storage(type)
            default: return nil
            }
        }
    }

    mutating func findGlobal() throws(ArchiveError) {
        let (module, name) = (try line(), try line())
        guard let global = Global(module: module, name: name) else {
            throw .refused("it names \(module).\(name), which is not among what tensors need")
        }
        push(.global(global))
    }

    /// ("storage", class, key, location, element count) becomes the bytes of the archive's entry `data/<key>`.
    mutating func findStorage() throws(ArchiveError) {
        guard case .tuple(let parts) = objects[try pop()], parts.count == 5,
            case .value(.string("storage")) = objects[parts[0]], case .global(.storage(let type)) = objects[parts[1]],
            case .value(.string(let key)) = objects[parts[2]], case .value(.string) = objects[parts[3]],
            case .value(.int(let count)) = objects[parts[4]]
        else { throw .refused("it refers to something that is no storage of a known type") }
        var found = storages[key]
        if found == nil { found = try storage(key) }
        guard let bytes = found else { throw .damaged("the entry data/\(key) is missing") }
        storages[key] = bytes
        let (size, overflow) = count.multipliedReportingOverflow(by: type.sizeInBytes)
        guard count >= 0, !overflow, size <= bytes.count else {
            throw .damaged("the storage data/\(key) should hold \(count) elements and has \(bytes.count) bytes")
        }
        push(.storage(type, bytes: UnsafeRawBufferPointer(rebasing: bytes[..<size])))
    }

    mutating func call() throws(ArchiveError) {
        guard case .tuple(let arguments) = objects[try pop()], case .global(let global) = objects[try pop()] else {
            throw .refused("its pickle calls something that is no known function")
        }
        switch global {
        case .orderedDictionary where arguments.isEmpty: push(.dictionary([]))
        case .size where arguments.count == 1:
            guard case .tuple(let sizes) = objects[arguments[0]] else { throw .refused("a size is no tuple") }
            push(.tuple(sizes))
        case .rebuildTensor: try rebuildTensor(arguments)
        default: throw .refused("its pickle calls a class with \(arguments.count) arguments")
        }
    }

    /// (storage, offset, shape, strides, requires grad, hooks), perhaps with metadata after them.
    private mutating func rebuildTensor(_ arguments: [Int]) throws(ArchiveError) {
        guard arguments.count >= 6, case .storage(let type, let bytes) = objects[arguments[0]],
            case .value(.int(let offset)) = objects[arguments[1]], let shape = numbers(arguments[2]),
            let strides = numbers(arguments[3]), shape.count == strides.count, shape.count <= Self.deepest
        else { throw .refused("it has a tensor that is not made of storage, offset, shape and strides") }
        let available = bytes.count / type.sizeInBytes
        var count = 1
        var last = offset
        var fits = offset >= 0
        for (size, stride) in zip(shape, strides) {
            let (product, tooMany) = count.multipliedReportingOverflow(by: size)
            let (reach, tooWide) = max(0, size - 1).multipliedReportingOverflow(by: stride)
            let (sum, tooFar) = last.addingReportingOverflow(reach)
            guard size >= 0, stride >= 0, !tooMany, !tooWide, !tooFar else {
                throw .damaged("a tensor has the shape \(shape) and the strides \(strides)")
            }
            (count, last) = (product, sum)
        }
        if count > 0 { fits = fits && last < available }
        guard fits else {
            throw .damaged(
                "a tensor of shape \(shape), strides \(strides), offset \(offset) leaves its \(available) elements")
        }
        let (size, overflow) = count.multipliedReportingOverflow(by: type.sizeInBytes)
        guard !overflow, size <= tensorBytes else {
            throw .refused("its tensors take far more bytes than the file has")
        }
        tensorBytes -= size
        push(
            .value(
                .tensor(
                    ArchiveTensor(
                        shape: shape,
                        elements: .init(type, bytes, offset: offset, shape: shape, strides: strides)))))
    }

    private func numbers(_ object: Int) -> [Int]? {
        guard case .tuple(let members) = objects[object] else { return nil }
        var numbers: [Int] = []
        for member in members {
            guard case .value(.int(let number)) = objects[member] else { return nil }
            numbers.append(number)
        }
        return numbers
    }
}
