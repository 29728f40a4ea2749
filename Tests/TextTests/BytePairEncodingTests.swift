import Support
import Testing

@testable import Text

@Suite struct BytePairEncodingTests {
    /// The definition: merge the leftmost pair of lowest rank until none is left.
    private func reference(_ bytes: [UInt8], _ merges: [(left: Int32, right: Int32, result: Int32)]) -> [Int32] {
        var ids = bytes.map(Int32.init)
        while true {
            var best: (rank: Int, position: Int)?
            for position in 0..<max(0, ids.count - 1) {
                let rank = merges.firstIndex { $0.left == ids[position] && $0.right == ids[position + 1] }
                if let rank, rank < best?.rank ?? Int.max { best = (rank, position) }
            }
            guard let best else { return ids }
            ids.replaceSubrange(best.position...best.position + 1, with: [merges[best.rank].result])
        }
    }

    @Test("short and long pieces merge as defined", arguments: [1, 2, 3, 10, 48, 49, 120], 0..<12)
    func merging(length: Int, seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        // A small alphabet and random merges, some of which can never apply, some of which lead to the same token.
        var merges: [(left: Int32, right: Int32, result: Int32)] = []
        var tokens: [Int32] = [0, 1, 2]
        for index in 0..<30 {
            let pair = (tokens.randomElement(using: &random) ?? 0, tokens.randomElement(using: &random) ?? 0)
            guard !merges.contains(where: { $0.left == pair.0 && $0.right == pair.1 }) else { continue }
            let result = index % 7 == 6 ? tokens[tokens.count - 1] : Int32(256 + index)
            merges.append((pair.0, pair.1, result))
            tokens.append(result)
        }
        let bpe = BytePairEncoding(byteIDs: (0..<256).map(Int32.init), merges: merges)
        var scratch = BytePairEncoding.Scratch()
        for _ in 0..<20 {
            let bytes = (0..<length).map { _ in UInt8.random(in: 0...2, using: &random) }
            var found: [Int32] = []
            bytes.withUnsafeBufferPointer { bpe.encode($0, scratch: &scratch, into: &found) }
            #expect(found == reference(bytes, merges))
        }
    }
}
