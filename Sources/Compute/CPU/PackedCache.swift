// PackedCache: matrices in the CPU's layout in a file, so that a later start maps them and packs nothing.
//
// Owner: whoever loads a model; one model.
// File: the identity, a text that says what the file holds, with zeros to a multiple of 4096 bytes; then the matrices, in the
//       order in which the model loads them, each at a multiple of 4096. It is written as `.partial`, locked; the identity
//       comes last, when the matrices are on disk, and the name when that is. One whose identity differs in a byte, or whose
//       length is not that of its plan, is remade. The weights themselves are not checked again.
// Pages: what was written leaves memory when it is on disk, so that no copy of the weights stays beside the one in use, and
//        the next start reads huge pages where the file system has them.

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Darwin
#endif

/// Lays out matrices as a CPU backend does, or finds them in a file of an earlier start.
public final class PackedCache: WeightLayout {
    /// What became of the file.
    public enum Outcome: Equatable, Sendable {
        /// It holds what is wanted.
        case mapped
        /// It is being written, or has been, for this reason.
        case written(why: String)
        /// There is none, for this reason.
        case unused(why: String)
    }

    /// For a log, where there is nothing to keep.
    public static let needless = "packed_cache=unused why=\"the weights come from no files\""

    /// The file.
    public let path: String
    /// What became of it; final after `finish`.
    public private(set) var outcome: Outcome
    private let backend: CPUBackend
    private let plan: PackedPlan
    private let header: [UInt8]
    /// Where the next matrix is.
    private var offset: Int
    private var file: MappedBytes?
    private var output: Output?

    /// A file that is not complete yet.
    private struct Output {
        var descriptor: Int32
        var path: String
    }

    /// Opens the file `name` in `directory`, which is made if need be, or begins to write it.
    ///
    /// - Parameters:
    ///   - directory: where the file is.
    ///   - name: its name.
    ///   - source: what decides the weights' bytes, such as the names and times of their files.
    ///   - plan: the matrices that will be laid out.
    ///   - backend: lays out what is not there.
    public init(directory: String, name: String, source: String, plan: PackedPlan, backend: CPUBackend) {
        path = directory.hasSuffix("/") ? directory + name : directory + "/" + name
        self.plan = plan
        self.backend = backend
        let identity = """
            switchyard packed weights, layout \(CPUBackend.layoutVersion)
            instruction set \(backend.device.instructionSet)
            matrices \(String(plan.digest.value, radix: 16)), \(Int(min(plan.byteCount, 0x1p60))) bytes
            \(source)

            """
        var header = Array(identity.utf8)
        header += [UInt8](repeating: 0, count: PackedPlan.padded(header.count) - header.count)
        self.header = header
        offset = header.count
        outcome = .mapped
        guard plan.byteCount < 0x1p60 else {
            outcome = .unused(why: "the matrices take more than 2^60 bytes")
            return
        }
        let why: String
        switch open() {
        case .success(let found):
            file = found
            return
        case .failure(let problem): why = problem.reason
        }
        outcome = .written(why: why)
        begin(directory)
    }

    deinit { abandon(nil) }

    /// The file, if it holds what is wanted.
    private func open() -> Result<MappedBytes, FileError> {
        func problem(_ reason: String) -> Result<MappedBytes, FileError> {
            .failure(FileError(path: path, reason: reason))
        }
        guard access(path, F_OK) == 0 else { return problem("no such file") }
        let found: MappedBytes
        do throws(FileError) {
            found = try MappedBytes(path: path, usesHugePages: true)
        } catch {
            return problem(error.reason)
        }
        guard found.bytes.count >= header.count, found.bytes.prefix(header.count).elementsEqual(header) else {
            return problem("it holds other weights")
        }
        let expected = header.count + Int(plan.byteCount)
        guard found.bytes.count == expected else {
            return problem("it has \(found.bytes.count) bytes, not \(expected)")
        }
        return .success(found)
    }

    /// Opens a file to write, empty and locked: -1 if another process writes it.
    private static func open(_ path: String) -> Int32 {
        #if canImport(Glibc)
            let descriptor = Glibc.open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o644)
        #else
            let descriptor = Darwin.open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o644)
        #endif
        guard descriptor >= 0 else { return -1 }
        // Whoever had the lock may have given the file its final name meanwhile.
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0, isOpen(path, as: descriptor), ftruncate(descriptor, 0) == 0
        else {
            close(descriptor)
            errno = EBUSY
            return -1
        }
        return descriptor
    }

    /// Whether `path` names the file that is open as `descriptor`, and no other.
    private static func isOpen(_ path: String, as descriptor: Int32) -> Bool {
        var (opened, named) = (stat(), stat())
        return fstat(descriptor, &opened) == 0 && lstat(path, &named) == 0
            && opened.st_dev == named.st_dev && opened.st_ino == named.st_ino
    }

    /// Begins a new file under a temporary name.
    private func begin(_ directory: String) {
        var made = ""
        for part in directory.split(separator: "/", omittingEmptySubsequences: false) {
            made += part + "/"
            mkdir(made, 0o777)  // those that are there stay; what cannot be made shows below
        }
        // One name, so that a start that was cut short leaves no more than the next one writes over.
        let partial = path + ".partial"
        let descriptor = Self.open(partial)
        guard descriptor >= 0 else { return abandon(errno) }
        output = Output(descriptor: descriptor, path: partial)
        #if canImport(Glibc)
            // A full disk shows now.
            let status = posix_fallocate(descriptor, 0, header.count + Int(plan.byteCount))
            if status == ENOSPC || status == EFBIG { return abandon(status) }
        #endif
    }

    private func write(_ bytes: UnsafeRawBufferPointer, at place: Int) {
        guard let output else { return }
        var done = 0
        while done < bytes.count {
            let count = pwrite(output.descriptor, bytes.baseAddress! + done, bytes.count - done, place + done)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return abandon(count < 0 ? errno : ENOSPC) }
            done += count
        }
    }

    /// Gives up writing; with the system's reason if it is one.
    private func abandon(_ code: Int32?) {
        if let code { outcome = .unused(why: "\(path): \(String(cString: strerror(code)))") }
        guard let output else { return }
        // Before the lock goes: the next file of this name is another's.
        if Self.isOpen(output.path, as: output.descriptor) { unlink(output.path) }
        close(output.descriptor)
        self.output = nil
    }

    public func makeMatrix(
        _ matrices: [[TensorRows]], gated: Bool, precision: WeightPrecision, laidOut: ([TensorRows]) -> Void
    ) -> Matrix {
        let layout = backend.layout(matrices, gated: gated, precision: precision)
        let byteCount = layout.stride * matrices.count
        defer { offset += PackedPlan.padded(byteCount) }
        if let file {
            precondition(offset + byteCount <= file.bytes.count, "matrices that are not in the plan")
            for stack in matrices { laidOut(stack) }
            return layout.matrix(count: matrices.count, storage: Storage(file, bytes: offset..<offset + byteCount))
        }
        let matrix = backend.makeMatrix(matrices, gated: gated, precision: precision, laidOut: laidOut)
        if output != nil, matrix.isCompressed != layout.isCompressed {
            outcome = .unused(why: "weights of \(matrices[0][0].tensor.name) and its like are of too many sizes")
            abandon(nil)
        }
        write(UnsafeRawBufferPointer(matrix.storage.bytes), at: offset)
        return matrix
    }

    public func makeVector(_ parts: [TensorRows]) -> Buffer { backend.makeVector(parts) }

    /// Completes the file, if one is being written: all matrices have been made.
    ///
    /// - Returns: what became of it, for a log.
    public func finish() -> String {
        complete()
        return switch outcome {
        case .mapped: "packed_cache=mapped file=\"\(path)\""
        case .written(let why): "packed_cache=written file=\"\(path)\" why=\"\(why)\""
        case .unused(let why): "packed_cache=unused why=\"\(why)\""
        }
    }

    private func complete() {
        guard let output else { return }
        precondition(offset == header.count + Int(plan.byteCount), "not the matrices of the plan")
        guard ftruncate(output.descriptor, offset) == 0, fsync(output.descriptor) == 0 else { return abandon(errno) }
        header.withUnsafeBytes { write($0, at: 0) }
        guard self.output != nil else { return }
        guard fsync(output.descriptor) == 0 else { return abandon(errno) }
        guard Self.isOpen(output.path, as: output.descriptor) else {
            outcome = .unused(why: "\(output.path) was replaced while it was written")
            return abandon(nil)
        }
        guard rename(output.path, path) == 0 else { return abandon(errno) }
        #if canImport(Glibc)
            posix_fadvise(output.descriptor, 0, 0, POSIX_FADV_DONTNEED)
        #endif
        close(output.descriptor)
        self.output = nil
    }
}
