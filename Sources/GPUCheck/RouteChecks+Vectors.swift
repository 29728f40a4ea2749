// RouteChecks: block alignment against reference vectors that other code has made.

import Compute
import Experts

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

extension RouteChecks {
    private struct Index: Decodable {
        struct Case: Decodable {
            var name: String
            var experts: Int
            var blockSize: Int

            enum CodingKeys: String, CodingKey {
                case name
                case experts = "num_experts"
                case blockSize = "block_size"
            }
        }

        var cases: [Case]
    }

    /// Every case of `moe_align.json` that has ids: sorted rows, blocks and counts.
    func alignmentVectors(folder: String) throws {
        let json = try Data(contentsOf: URL(filePath: folder + "/moe_align.json"))
        let cases = try JSONDecoder().decode(Index.self, from: json).cases
        let file = try SafetensorsFile(MappedBytes(path: folder + "/moe_align.safetensors"))
        for item in cases {
            func values(_ field: String) -> [Int32]? {
                file.tensors["\(item.name).\(field)"]?.withBytes { bytes in
                    (0..<bytes.count / 4).map { bytes.loadUnaligned(fromByteOffset: $0 * 4, as: Int32.self) }
                }
            }
            guard let ids = values("topk_ids"), let sorted = values("sorted_ids"), let blocks = values("expert_ids"),
                let counts = values("expert_counts")
            else { continue }
            let rule = try BlockRule(experts: item.experts, blockSize: item.blockSize)
            let alignment = try CUDAAlignment(device, rule: rule, on: stream)
            let input = try DeviceBuffer<Int32>(device, count: ids.count)
            try input.write(ids, on: stream)
            let output = try Blocks(device, capacity: rule.capacity(pairs: ids.count), blockSize: rule.blockSize)
            try output.poison(stream)
            let ring = try CUDARecordRing(device, slots: 1, layers: 1, experts: rule.experts, on: stream)
            try alignment.align(
                ids: input.address, pairs: ids.count, into: output.memory, fillTail: true, record: ring.row(layer: 0),
                on: stream)
            let expected = Expected(sorted: sorted, blocks: blocks, counts: counts)
            let difference = try output.difference(from: expected, pairs: ids.count, tail: true, stream)
            expect(difference == nil, "vector \(item.name): \(difference ?? "")")
            expect(try ring.counts.contents(on: stream) == counts, "vector \(item.name): counts differ")
        }
    }
}
