// PackedCache+Files: the file of a checkpoint's packed weights: its name, and what says that it is the checkpoint's.

public import Compute

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Darwin
#endif

extension PackedCache {
    /// The packed weights of `files` in `directory`; nil for weights that come from no files: made up, or embedded.
    ///
    /// One file for each folder, precision and instruction set. The checkpoint is known by its files' names, sizes and times.
    ///
    /// - Throws: `FileError` when a file of the checkpoint cannot be looked at.
    public convenience init?(
        directory: String, files: ModelFiles, weights: any WeightSource, survey: WeightSurvey,
        precision: WeightPrecision, backend: CPUBackend
    ) throws(FileError) {
        guard let checkpoint = weights as? Checkpoint, !files.isEmbedded else { return nil }
        // The same file however the folder is named.
        let resolved = realpath(files.path, nil)
        defer { free(resolved) }
        let folder = resolved.map { String(cString: $0) } ?? files.path
        var source = "precision \(precision)\n"
        for file in Set(checkpoint.tensors.values.map(\.file)).sorted() + [files.location(of: "config.json")] {
            var status = stat()
            guard stat(file, &status) == 0 else {
                throw FileError(path: file, reason: String(cString: strerror(errno)))
            }
            #if canImport(Glibc)
                let time = status.st_mtim
            #else
                let time = status.st_mtimespec
            #endif
            let name = file.split(separator: "/").last ?? ""
            source += "file \(name), \(status.st_size) bytes, of \(time.tv_sec) s \(time.tv_nsec) ns\n"
        }
        var place = Digest()
        place.add(folder)
        let name = folder.split(separator: "/").last ?? "model"
        self.init(
            directory: directory,
            name: "\(name)-\(String(place.value, radix: 16))-\(precision)-\(backend.device.instructionSet).packed",
            source: source, plan: survey.plan, backend: backend)
    }
}
