// Checkpoint: a model's tensors by name, in one safetensors file or in shards with an index.

public import Compute

#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

/// The tensors of a model.
public struct Checkpoint: WeightSource, Sendable {
    /// The tensors by name.
    public let tensors: [String: Tensor]
    /// Tensors that the index names and that could not be read: what is wrong with them has been said.
    public let unread: Set<String>
    private let location: String

    /// Reads the headers of `model.safetensors`, or of the shards that `model.safetensors.index.json` names.
    ///
    /// - Throws: `ModelFileError` naming the file, the tensor, what was found and what was expected.
    public init(_ files: ModelFiles) throws(ModelFileError) {
        try self.init(files) { (problem) throws(ModelFileError) in throw problem }
    }

    /// Reads headers, too, and tells `report` of every problem; if it throws none, the tensors are those that can be read.
    public init(
        _ files: ModelFiles, report: (ModelFileError) throws(ModelFileError) -> Void
    ) throws(ModelFileError) {
        let single = "model.safetensors"
        let index = "model.safetensors.index.json"
        do {
            if let file = try Self.open(single, files) {
                tensors = try SafetensorsFile(file, report: report).tensors
                location = file.name
                unread = []
                return
            }
        } catch {
            tensors = [:]
            unread = []
            location = error.file
            try report(error)
            return
        }
        location = files.location(of: index)
        let map: [String: String]
        do {
            map = try Self.map(index, files, or: single)
        } catch {
            tensors = [:]
            unread = []
            try report(error)
            return
        }
        var shards: [String: SafetensorsFile?] = [:]
        var tensors: [String: Tensor] = [:]
        for (name, shard) in map.sorted(by: { $0.key < $1.key }) {  // the same error every time
            do throws(ModelFileError) {
                if shards[shard] == nil {
                    shards[shard] = .some(nil)  // a broken shard is reported once
                    shards[shard] = try Self.shard(shard, of: index, for: name, files, report: report)
                }
                guard let file = shards[shard] ?? nil else { continue }
                guard let tensor = file.tensors[name] else {
                    throw ModelFileError(
                        file: files.location(of: shard), item: name, found: "no such tensor",
                        expected: "the tensor that \(index) says is here")
                }
                tensors[name] = tensor
            } catch {
                try report(error)
            }
        }
        self.tensors = tensors
        unread = Set(map.keys).subtracting(tensors.keys)
    }

    /// The tensor `name`, an 8-bit one with its scales.
    ///
    /// - Throws: `ModelFileError` when it is missing, has another shape, or is no floating-point weight.
    public func tensor(
        _ name: String, shape: [Int], scaleBlocks: ScaleBlocks
    ) throws(ModelFileError) -> Tensor {
        let tensor = try find(name, shape: shape)
        switch tensor.dtype {
        case .bfloat16, .float16, .float32: return tensor
        case .float8 where shape.count == 2:
            let scales = try find(name + "_scale_inv", shape: tensor.scaleShape(scaleBlocks))
            guard scales.dtype == .float32 else {
                throw ModelFileError(
                    file: scales.file, item: scales.name, found: "dtype \(scales.dtype.rawValue)", expected: "F32")
            }
            return tensor.scaled(by: scales, blocks: scaleBlocks)
        default:
            throw ModelFileError(
                file: tensor.file, item: name, found: "dtype \(tensor.dtype.rawValue)", expected: "BF16, F16 or F32")
        }
    }

    private func find(_ name: String, shape: [Int]) throws(ModelFileError) -> Tensor {
        guard let tensor = tensors[name] else {
            throw ModelFileError(
                file: location, item: name, found: "no such tensor", expected: "a tensor of shape \(shape)")
        }
        guard tensor.shape == shape else {
            throw ModelFileError(
                file: tensor.file, item: name, found: "shape \(tensor.shape)", expected: "shape \(shape)")
        }
        return tensor
    }

    /// Which shard holds each tensor.
    private static func map(
        _ index: String, _ files: ModelFiles, or single: String
    ) throws(ModelFileError) -> [String: String] {
        guard let file = try open(index, files) else {
            throw ModelFileError(
                file: files.path, found: "neither \(single) nor \(index)", expected: "safetensors weights")
        }
        do {
            return try JSONDecoder().decode(Index.self, from: Data(file.bytes)).map
        } catch {
            throw ModelFileError(
                file: file.name, decoding: error, expected: "an object with weight_map: tensor -> file")
        }
    }

    /// The shard `shard`, which `index` names for the tensor `name`.
    private static func shard(
        _ shard: String, of index: String, for name: String, _ files: ModelFiles,
        report: (ModelFileError) throws(ModelFileError) -> Void
    ) throws(ModelFileError) -> SafetensorsFile {
        // In bytes: as characters a slash with an accent would be no slash.
        guard !shard.utf8.contains(where: { $0 == UInt8(ascii: "/") || $0 == 0 }), !["", ".", ".."].contains(shard)
        else {
            throw ModelFileError(
                file: files.location(of: index), item: name, found: "shard \(shard)",
                expected: "a file name in the same folder")
        }
        guard let file = try open(shard, files) else {
            throw ModelFileError(
                file: files.location(of: shard), found: "no such file",
                expected: "the shard that \(index) names for \(name)")
        }
        return try SafetensorsFile(file, report: report)
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
