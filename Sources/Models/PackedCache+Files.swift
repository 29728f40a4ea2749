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
    /// One file for each folder, precision and instruction set. The checkpoint is known by its files as they were when they
    /// were mapped, and by which of them holds each tensor; of `config.json`, what matters is in the survey's plan.
    public convenience init?(
        directory: String, files: ModelFiles, weights: any WeightSource, survey: WeightSurvey,
        precision: WeightPrecision, backend: CPUBackend
    ) {
        guard let checkpoint = weights as? Checkpoint, !files.isEmbedded else { return nil }
        var lines: Set<String> = []
        var places = Digest()
        for (name, tensor) in checkpoint.tensors.sorted(by: { $0.key < $1.key }) {
            guard let identity = tensor.fileIdentity else { return nil }
            let line = "file \(tensor.file.split(separator: "/").last ?? ""), \(identity)\n"
            lines.insert(line)
            places.add(name)
            places.add(line)
        }
        let source = """
            precision \(precision)
            \(lines.sorted().joined())tensors \(String(places.value, radix: 16))

            """
        // The same file however the folder is named.
        let resolved = realpath(files.path, nil)
        defer { free(resolved) }
        let folder = resolved.map { String(cString: $0) } ?? files.path
        var place = Digest()
        place.add(folder)
        let name = folder.split(separator: "/").last ?? "model"
        self.init(
            directory: directory,
            name: "\(name)-\(String(place.value, radix: 16))-\(precision)-\(backend.device.instructionSet).packed",
            source: source, plan: survey.plan, backend: backend)
    }
}
