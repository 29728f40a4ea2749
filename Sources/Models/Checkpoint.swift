// Checkpoint: a model's tensors by name, in one safetensors file or in shards with an index.

public import Compute

#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

/// The tensors of a model.
public struct Checkpoint: Sendable {
    /// The tensors by name.
    public let tensors: [String: Tensor]
    private let location: String

    /// Reads the headers of `model.safetensors`, or of the shards that `model.safetensors.index.json` names.
    ///
    /// - Throws: `ModelFileError` naming the file, the tensor, what was found and what was expected.
    public init(_ files: ModelFiles) throws(ModelFileError) {
        let single = "model.safetensors"
        let index = "model.safetensors.index.json"
        if let file = try Self.open(single, files) {
            tensors = try SafetensorsFile(file).tensors
            location = file.name
            return
        }
        location = files.location(of: index)
        guard let indexFile = try Self.open(index, files) else {
            throw ModelFileError(
                file: files.path, found: "neither \(single) nor \(index)", expected: "safetensors weights")
        }
        let map: [String: String]
        do {
            map = try JSONDecoder().decode(Index.self, from: Data(indexFile.bytes)).map
        } catch {
            throw ModelFileError(
                file: location, decoding: error, expected: "an object with weight_map: tensor -> file")
        }
        var shards: [String: SafetensorsFile] = [:]
        var tensors: [String: Tensor] = [:]
        for (name, shard) in map.sorted(by: { $0.key < $1.key }) {  // the same error every time
            // In bytes: as characters a slash with an accent would be no slash.
            guard !shard.utf8.contains(where: { $0 == UInt8(ascii: "/") || $0 == 0 }), !["", ".", ".."].contains(shard)
            else {
                throw ModelFileError(
                    file: location, item: name, found: "shard \(shard)", expected: "a file name in the same folder")
            }
            if shards[shard] == nil {
                guard let file = try Self.open(shard, files) else {
                    throw ModelFileError(
                        file: files.location(of: shard), found: "no such file",
                        expected: "the shard that \(index) names for \(name)")
                }
                shards[shard] = try SafetensorsFile(file)
            }
            guard let tensor = shards[shard]?.tensors[name] else {
                throw ModelFileError(
                    file: files.location(of: shard), item: name, found: "no such tensor",
                    expected: "the tensor that \(index) says is here")
            }
            tensors[name] = tensor
        }
        self.tensors = tensors
    }

    /// The tensor `name`.
    ///
    /// - Throws: `ModelFileError` when it is missing, has another shape, or is no floating-point weight.
    public func tensor(_ name: String, shape: [Int]) throws(ModelFileError) -> Tensor {
        guard let tensor = tensors[name] else {
            throw ModelFileError(
                file: location, item: name, found: "no such tensor", expected: "a tensor of shape \(shape)")
        }
        guard tensor.shape == shape else {
            throw ModelFileError(
                file: tensor.file, item: name, found: "shape \(tensor.shape)", expected: "shape \(shape)")
        }
        guard [.bfloat16, .float16, .float32].contains(tensor.dtype) else {
            throw ModelFileError(
                file: tensor.file, item: name, found: "dtype \(tensor.dtype.rawValue)", expected: "BF16, F16 or F32")
        }
        return tensor
    }

    private static func open(_ name: String, _ files: ModelFiles) throws(ModelFileError) -> MappedBytes? {
        do {
            return try files.bytes(name)
        } catch {
            throw ModelFileError(file: error.path, found: error.reason, expected: "a readable file")
        }
    }

    private struct Index: Decodable {
        var map: [String: String]

        enum CodingKeys: String, CodingKey {
            case map = "weight_map"
        }
    }
}
