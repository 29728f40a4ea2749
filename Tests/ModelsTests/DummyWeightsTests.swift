import Compute
import Foundation
import Support
import Testing

@testable import Models

@Suite struct DummyWeightsTests {
    private func configuration(_ model: String) throws -> ModelConfiguration {
        try ModelConfiguration(ModelFiles(directory: Golden.url("models/\(model)").path))
    }

    private func values(_ tensor: Tensor) -> [Float] {
        tensor.withBytes { bytes in
            (0..<tensor.count).map { index in
                if tensor.dtype == .float32 { return bytes.loadUnaligned(fromByteOffset: 4 * index, as: Float.self) }
                let bits = bytes.loadUnaligned(fromByteOffset: 2 * index, as: UInt16.self)
                return Float(bitPattern: UInt32(bits) << 16)
            }
        }
    }

    @Test(
        "the seed and the name decide the numbers, not what else was made", arguments: ["olmoe-tiny", "mixtral-tiny"])
    func seeded(model: String) throws {
        let configuration = try configuration(model)
        func make(_ seed: UInt64, _ name: String, after: [String] = []) throws -> [Float] {
            let source = DummyWeights(configuration, seed: seed)
            for other in after { _ = try source.tensor(other, shape: [4, 4], scaleBlocks: ScaleBlocks()) }
            let tensor = try source.tensor(name, shape: [33, 17], scaleBlocks: ScaleBlocks())
            #expect(tensor.dtype == (model == "mixtral-tiny" ? .float32 : .bfloat16))
            return values(tensor)
        }
        let first = try make(1, "a.weight")
        #expect(try make(1, "a.weight", after: ["b", "c"]) == first)
        #expect(try make(2, "a.weight") != first)
        #expect(try make(1, "b.weight") != first)
    }

    @Test("any number of threads makes the same numbers", arguments: ["olmoe-tiny", "mixtral-tiny"])
    func threads(model: String) throws {
        let configuration = try configuration(model)
        // Some end within a draw of four, some have fewer draws than there are lanes.
        for shape in [[1], [3, 2], [7, 5], [64, 33], [301, 127]] {
            let alone = try DummyWeights(configuration, seed: 5).tensor("w", shape: shape, scaleBlocks: ScaleBlocks())
            for threads in 1...4 {
                let backend = try #require(CPUBackend(threads: threads))
                defer { backend.stop() }
                let source = DummyWeights(configuration, seed: 5, lanes: backend.lanes)
                let made = try source.tensor("w", shape: shape, scaleBlocks: ScaleBlocks())
                #expect(values(made) == values(alone), "\(shape), \(threads) threads")
            }
        }
    }

    @Test("matrices keep the size of what they multiply; norms are about 1, biases 0") func sizes() throws {
        let source = DummyWeights(try configuration("olmoe-tiny"), seed: 3)
        func make(_ name: String, _ shape: [Int]) throws -> [Float] {
            values(try source.tensor(name, shape: shape, scaleBlocks: ScaleBlocks()))
        }
        let matrix = try make("x.weight", [300, 128])
        let meanSquare = matrix.reduce(0) { $0 + Double($1 * $1) } / Double(matrix.count)
        // Uniform numbers; 38400 of them.
        #expect(abs(meanSquare * 128 - 1) < 0.03)
        #expect(abs(matrix.reduce(0) { $0 + Double($1) } / Double(matrix.count)) < 0.002)
        let norm = try make("input_layernorm.weight", [64])
        #expect(norm.allSatisfy { $0 >= 0.89 && $0 <= 1.1 } && Set(norm).count > 20)
        #expect(try make("q_proj.bias", [64]).allSatisfy { $0 == 0 })
    }

    @Test("a survey of nothing supposes that all is there", arguments: ["olmoe-tiny", "deepseek-v3-tiny"])
    func survey(model: String) throws {
        let files = try ModelFiles(directory: Golden.url("models/\(model)").path)
        let configuration = try ModelConfiguration(files)
        let supposed = WeightSurvey(configuration, of: nil)
        let found = WeightSurvey(configuration, of: try Checkpoint(files))
        #expect(supposed.problems.isEmpty && found.problems.isEmpty)
        #expect(supposed.parameters == found.parameters && supposed.activeParameters == found.activeParameters)
        #expect(found.parameters > found.activeParameters)
    }
}
