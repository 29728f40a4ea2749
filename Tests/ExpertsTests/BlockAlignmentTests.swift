// Block alignment against the golden vectors, a plain restatement, and its own promises.

import Experts
import Foundation
import Support
import Testing

/// What one alignment says, copied out of the workspace.
private struct Aligned: Equatable {
    var sortedPairs: [Int32]
    var blockExperts: [Int32]
    var paddedCount: Int
    var counts: [Int32]

    /// Aligns with a given or fresh workspace.
    init(
        _ ids: [Int32], experts: Int, block: Int, workspace: BlockAlignment = BlockAlignment()
    ) throws(RoutingError) {
        try Self.align(workspace, ids, experts, block)
        sortedPairs = Array(workspace.sortedPairs)
        blockExperts = Array(workspace.blockExperts)
        paddedCount = workspace.paddedCount
        counts = Array(workspace.counts)
    }

    static func align(
        _ workspace: BlockAlignment, _ ids: [Int32], _ experts: Int, _ block: Int,
        countsInto row: UnsafeMutablePointer<Int32>? = nil
    ) throws(RoutingError) {
        try ids.withUnsafeBufferPointer { ids throws(RoutingError) in
            try workspace.align(ids: ids, expertCount: experts, blockSize: block, countsInto: row)
        }
    }

    /// The plain restatement: experts one by one, their pairs in order, pads at the end.
    init(plainly ids: [Int32], experts: Int, block: Int) {
        sortedPairs = []
        blockExperts = []
        counts = []
        for expert in 0..<Int32(experts) {
            let pairs = ids.indices.filter { ids[$0] == expert }.map(Int32.init)
            counts.append(Int32(pairs.count))
            let blocks = (pairs.count + block - 1) / block
            let pads = [Int32](repeating: Int32(ids.count), count: blocks * block - pairs.count)
            sortedPairs += pairs + pads
            blockExperts += [Int32](repeating: expert, count: blocks)
        }
        paddedCount = sortedPairs.count
    }
}

/// One golden case, as `moe_align.json` describes it.
private struct AlignCase: Decodable, Sendable, CustomTestStringConvertible {
    var name: String
    var experts: Int
    var block: Int
    var padded: Int?
    var capacity: Int?
    var blockCapacity: Int?
    var droppedPadded: Int?
    var localExperts: Int?
    var hasInvalidIDs: Bool?

    enum CodingKeys: String, CodingKey {
        case name
        case experts = "num_experts"
        case block = "block_size"
        case padded = "num_tokens_post_pad"
        case capacity = "max_num_tokens_padded"
        case blockCapacity = "max_num_blocks"
        case droppedPadded = "dropped_num_tokens_post_pad"
        case localExperts = "num_local_experts"
        case hasInvalidIDs = "has_invalid_ids"
    }

    var testDescription: String { name }

    static let all: [AlignCase] = {
        struct File: Decodable { var cases: [AlignCase] }
        return (try? Golden.decode(File.self, "moe-align/moe_align.json"))?.cases ?? []
    }()
}

private let golden = Result { try GoldenTensors("moe-align/moe_align.safetensors") }

@Suite struct BlockAlignmentTests {
    @Test("every golden case was found")
    func goldenCasesExist() {
        #expect(AlignCase.all.count == 35)
    }

    @Test("the golden cases hold, entry for entry", arguments: AlignCase.all.filter { $0.hasInvalidIDs != true })
    private func goldenCase(_ test: AlignCase) throws {
        let tensors = try golden.get()
        let workspace = BlockAlignment()
        let found = try Aligned(
            tensors.int32("\(test.name).topk_ids"), experts: test.experts, block: test.block, workspace: workspace)
        #expect(found.paddedCount == test.padded)
        #expect(try found.sortedPairs == tensors.int32("\(test.name).sorted_ids"))
        #expect(try found.blockExperts == tensors.int32("\(test.name).expert_ids"))
        #expect(try found.counts == tensors.int32("\(test.name).expert_counts"))
        if test.localExperts != nil {
            let local = try tensors.int32("\(test.name).expert_map")
            let mapped = try tensors.int32("\(test.name).mapped_expert_ids")
            #expect(found.blockExperts.map { local[Int($0)] } == mapped)
        }
        #expect(workspace.capacity == test.capacity)
        #expect(workspace.fillTail().blockExperts.count == test.blockCapacity)
    }

    @Test(
        "dropped ids take no slot",
        arguments: AlignCase.all.filter { $0.hasInvalidIDs == true || $0.localExperts != nil })
    private func droppedCase(_ test: AlignCase) throws {
        let tensors = try golden.get()
        var ids = try tensors.int32("\(test.name).topk_ids")
        if test.hasInvalidIDs != true {
            let local = try tensors.int32("\(test.name).expert_map")
            ids = ids.map { local[Int($0)] }
        }
        let found = try Aligned(ids, experts: test.localExperts ?? test.experts, block: test.block)
        #expect(found.paddedCount == test.droppedPadded)
        #expect(try found.sortedPairs == tensors.int32("\(test.name).dropped_sorted_ids"))
        #expect(try found.blockExperts == tensors.int32("\(test.name).dropped_expert_ids"))
        #expect(found.counts.reduce(0, +) == ids.count { $0 >= 0 })
    }

    @Test("five numbers in, five out")
    func workedExample() throws {
        let found = try Aligned([2, 0, 2, 2, 0], experts: 3, block: 2)
        #expect(found.sortedPairs == [1, 4, 0, 2, 3, 5])
        #expect(found.blockExperts == [0, 2, 2])
        #expect(found.counts == [2, 0, 3])
    }

    @Test("the quadratic residues need no padding")
    func quadraticResidues() throws {
        let found = try Aligned((0..<8192).map { Int32($0 * $0 % 64) }, experts: 64, block: 128)
        #expect(found.paddedCount == 8192 && found.blockExperts.count == 64)
        #expect(found.blockExperts.starts(with: [0, 0, 0, 0]) && found.blockExperts.suffix(3) == [57, 57, 57])
        #expect(found.sortedPairs.starts(with: [0, 8, 16, 24, 32]))
    }

    @Test(
        "the result equals the plain restatement, also in a reused workspace",
        arguments: [(0, 1, 1), (1, 1, 3), (7, 3, 1), (64, 8, 4), (513, 60, 7), (4096, 128, 64), (33, 512, 16)])
    func plainRestatement(pairs: Int, experts: Int, block: Int) throws {
        var random = SeededGenerator(seed: UInt64(pairs + experts))
        let workspace = BlockAlignment()
        for size in [pairs, pairs / 2, pairs * 2, 1] {
            let ids = (0..<size).map { _ in Int32.random(in: -1..<Int32(experts), using: &random) }
            let found = try Aligned(ids, experts: experts, block: block, workspace: workspace)
            #expect(found == Aligned(plainly: ids, experts: experts, block: block))
        }
    }

    @Test("every pair occurs once, in ascending order inside its expert, pads only at an expert's end")
    func promises() throws {
        var random = SeededGenerator(seed: 11)
        let ids = (0..<2000).map { _ in Int32.random(in: 0..<20, using: &random) }
        let found = try Aligned(ids, experts: 20, block: 16)
        #expect(found.sortedPairs.filter { $0 < 2000 }.sorted() == Array(0..<2000))
        for expert in 0..<Int32(20) {
            let blocks = found.blockExperts.indices.filter { found.blockExperts[$0] == expert }
            let rows = blocks.flatMap { found.sortedPairs[$0 * 16..<($0 + 1) * 16] }
            let pairs = rows.prefix { $0 < 2000 }
            #expect(zip(pairs, pairs.dropFirst()).allSatisfy { $0 < $1 })
            #expect(pairs.allSatisfy { ids[Int($0)] == expert })
            #expect(rows.count - pairs.count < 16 && rows.dropFirst(pairs.count).allSatisfy { $0 == 2000 })
        }
    }

    @Test("the tail is n and -1 up to capacity")
    func tail() throws {
        let workspace = BlockAlignment()
        try Aligned.align(workspace, [0, 2, 2], 4, 3)
        let (pairs, blocks) = workspace.fillTail()
        #expect(Array(pairs) == [0, 3, 3, 1, 2, 3, 3, 3, 3, 3, 3])
        #expect(Array(blocks) == [0, 2, -1, -1])
    }

    @Test("counts land in the caller's row and nowhere else")
    func countsIntoRow() throws {
        let workspace = BlockAlignment()
        var rows = [Int32](repeating: 9, count: 6)
        try rows.withUnsafeMutableBufferPointer { rows in
            let row = try #require(rows.baseAddress) + 2
            try Aligned.align(workspace, [1, 1, -1, 0], 2, 4, countsInto: row)
            #expect(workspace.counts.baseAddress == UnsafePointer(row))
        }
        #expect(rows == [9, 9, 1, 2, 9, 9])
    }

    @Test("the first wrong id is named", arguments: [Int32(4), -2, .min, .max])
    func wrongID(id: Int32) {
        #expect(throws: RoutingError.expertOutOfRange(position: 2, id: id, expertCount: 4)) {
            try Aligned([3, -1, id, 0, 99, -5], experts: 4, block: 2)
        }
    }

    @Test("after an error the result is empty, the row untouched, and the workspace usable")
    func afterError() throws {
        let workspace = BlockAlignment()
        var row: [Int32] = [5, 5]
        #expect(throws: RoutingError.self) {
            try row.withUnsafeMutableBufferPointer {
                try Aligned.align(workspace, [0, 2], 2, 2, countsInto: $0.baseAddress)
            }
        }
        #expect(row == [5, 5] && workspace.paddedCount == 0 && workspace.sortedPairs.isEmpty)
        #expect(try Aligned([1, 0], experts: 2, block: 1, workspace: workspace).sortedPairs == [1, 0])
    }
}
