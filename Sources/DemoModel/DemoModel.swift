// DemoModel: the model that ships with the product, as model files.

internal import Compute
internal import DemoModelFiles
public import Models

extension ModelFiles {
    /// The trained demo model, embedded in the binary.
    public static let demo: ModelFiles = {
        var files: [String: MappedBytes] = [:]
        var index = 0
        while let file = demo_model_file_at(index)?.pointee {
            let name = String(cString: file.name)
            files[name] = MappedBytes(
                permanent: UnsafeRawBufferPointer(start: file.bytes, count: file.size), name: "switchyard-demo/\(name)")
            index += 1
        }
        return ModelFiles(embedded: "switchyard-demo", files: files)
    }()
}
