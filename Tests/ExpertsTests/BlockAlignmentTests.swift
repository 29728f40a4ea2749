// Block alignment against the golden vectors, a plain restatement, and its own promises.

import Experts
import Foundation
import RouteKernels
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
        _ ids: [Int32], experts: Int, block: Int, map: [Int32]? = nil, foreign: BlockRule.ForeignPairs = .dropped,
        workspace: BlockAlignment = BlockAlignment(), lanes: (any Lanes)? = nil
    ) throws(RoutingError) {
        let map = try map.map { values throws(RoutingError) in try BlockRule.ExpertMap(values) }
        let rule = try BlockRule(experts: experts, blockSize: block, map: map, foreign: foreign)
        try Self.align(workspace, rule, ids, lanes: lanes)
        sortedPairs = Array(workspace.sortedPairs)
        blockExperts = Array(workspace.blockExperts)
        paddedCount = workspace.paddedCount
        counts = Array(workspace.counts)
    }

    static func align(
        _ workspace: BlockAlignment, _ rule: BlockRule, _ ids: [Int32],
        countsInto row: UnsafeMutablePointer<Int32>? = nil, into output: BlockAlignment.Output? = nil,
        lanes: (any Lanes)? = nil
    ) throws(RoutingError) {
        try ids.withUnsafeBufferPointer { ids throws(RoutingError) in
            try workspace.align(rule, ids: ids, countsInto: row, into: output, lanes: lanes)
        }
    }

    /// The plain restatement: groups one by one, their pairs in order, pads at the end.
    init(
        plainly ids: [Int32], experts: Int, block: Int, map: [Int32]? = nil, foreign: BlockRule.ForeignPairs = .dropped
    ) {
        sortedPairs = []
        blockExperts = []
        let map = map ?? (0..<Int32(experts)).map { $0 }
        // Groups in order: the id, and what its blocks say.
        var groups = map.enumerated().map { (id: Int32($0), label: $1) }
        switch foreign {
        case .ownBlocks: groups.insert((-1, -1), at: 0)
        case .dropped: groups = groups.filter { $0.label >= 0 }.sorted { $0.label < $1.label }
        }
        for group in groups {
            let pairs = ids.indices.filter { ids[$0] == group.id }.map(Int32.init)
            let blocks = (pairs.count + block - 1) / block
            let pads = [Int32](repeating: Int32(ids.count), count: blocks * block - pairs.count)
            sortedPairs += pairs + pads
            blockExperts += [Int32](repeating: group.label, count: blocks)
        }
        paddedCount = sortedPairs.count
        counts = (0..<Int32(experts)).map { expert in Int32(ids.count { $0 == expert }) }
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
            let mapped = try Aligned(
                tensors.int32("\(test.name).topk_ids"), experts: test.experts, block: test.block,
                map: tensors.int32("\(test.name).expert_map"), foreign: .ownBlocks)
            #expect(try mapped.blockExperts == tensors.int32("\(test.name).mapped_expert_ids"))
            #expect(mapped.sortedPairs == found.sortedPairs && mapped.counts == found.counts)
        }
        #expect(workspace.capacity == test.capacity)
        #expect(workspace.fillTail().blockExperts.count == test.blockCapacity)
    }

    @Test(
        "dropped ids take no slot",
        arguments: AlignCase.all.filter { $0.hasInvalidIDs == true || $0.localExperts != nil })
    private func droppedCase(_ test: AlignCase) throws {
        let tensors = try golden.get()
        let ids = try tensors.int32("\(test.name).topk_ids")
        let map = test.localExperts == nil ? nil : try tensors.int32("\(test.name).expert_map")
        let found = try Aligned(ids, experts: test.experts, block: test.block, map: map)
        #expect(found.paddedCount == test.droppedPadded)
        #expect(try found.sortedPairs == tensors.int32("\(test.name).dropped_sorted_ids"))
        #expect(try found.blockExperts == tensors.int32("\(test.name).dropped_expert_ids"))
        #expect(found.counts.reduce(0, +) == ids.count { $0 >= 0 })
        if let map { #expect(found.blockExperts.allSatisfy { $0 >= 0 && map.contains($0) }) }
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

    @Test(
        "maps and foreign pairs equal the plain restatement",
        arguments: [BlockRule.ForeignPairs.dropped, .ownBlocks], [(40, 6, 4), (3000, 96, 16), (700, 8, 1)])
    func foreignPairs(foreign: BlockRule.ForeignPairs, size: (pairs: Int, experts: Int, block: Int)) throws {
        var random = SeededGenerator(seed: UInt64(size.pairs))
        for share in [0, size.experts / 3, size.experts] {
            // The experts of this rank have local ids in any order.
            let residents = (0..<size.experts).shuffled(using: &random).prefix(share)
            var map = [Int32](repeating: -1, count: size.experts)
            for (local, expert) in residents.enumerated() { map[expert] = Int32(local) }
            let ids = (0..<size.pairs).map { _ in Int32.random(in: -1..<Int32(size.experts), using: &random) }
            for map in [map, nil] {
                let found = try Aligned(ids, experts: size.experts, block: size.block, map: map, foreign: foreign)
                let plain = Aligned(plainly: ids, experts: size.experts, block: size.block, map: map, foreign: foreign)
                #expect(found == plain)
            }
        }
    }

    @Test("one lane or many, the same bytes", arguments: [2, 3, 7])
    func lanes(count: Int) throws {
        var random = SeededGenerator(seed: UInt64(count))
        for pairs in [BlockAlignment.threadedFrom - 1, BlockAlignment.threadedFrom, 40_001] {
            let ids = (0..<pairs).map { _ in Int32.random(in: -1..<200, using: &random) }
            for foreign in [BlockRule.ForeignPairs.dropped, .ownBlocks] {
                let alone = try Aligned(ids, experts: 200, block: 64, foreign: foreign)
                let shared = try Aligned(
                    ids, experts: 200, block: 64, foreign: foreign, lanes: ThreadLanes(laneCount: count))
                #expect(alone == shared)
            }
        }
        var ids = [Int32](repeating: 0, count: 40_000)
        ids[39_999] = 7
        #expect(throws: RoutingError.expertOutOfRange(position: 39_999, id: 7, experts: 7)) {
            try Aligned(ids, experts: 7, block: 64, lanes: ThreadLanes(laneCount: count))
        }
    }

    @Test("memory of the caller's receives the result, and too little is refused before anything is written")
    func lentOutput() throws {
        let ids: [Int32] = [2, 0, -1, 2, 2, 0]
        let rule = try BlockRule(experts: 3, blockSize: 2)
        let workspace = BlockAlignment()
        var rows = [Int32](repeating: 99, count: rule.capacity(pairs: ids.count))
        var blocks = [Int32](repeating: 99, count: 5)
        func align(rows count: Int) throws {
            try rows.withUnsafeMutableBufferPointer { rows in
                try blocks.withUnsafeMutableBufferPointer { blocks in
                    let output = BlockAlignment.Output(
                        sortedPairs: UnsafeMutableBufferPointer(rebasing: rows.prefix(count)), blockExperts: blocks)
                    try Aligned.align(workspace, rule, ids, into: output)
                    workspace.fillTail()
                }
            }
        }
        #expect(throws: RoutingError.outputTooSmall(rows: 6, needed: 7)) { try align(rows: 6) }
        #expect(rows.allSatisfy { $0 == 99 } && workspace.paddedCount == 0)
        try align(rows: rows.count)
        #expect(rows == [1, 5, 0, 3, 4, 6, 6, 6, 6] && blocks == [0, 2, 2, -1, -1])
    }

    @Test("absurd rules and maps are refused")
    func badRules() throws {
        #expect(throws: RoutingError.badSize(experts: 0, blockSize: 4)) { try BlockRule(experts: 0, blockSize: 4) }
        #expect(throws: RoutingError.badSize(experts: 4, blockSize: -1)) { try BlockRule(experts: 4, blockSize: -1) }
        #expect(throws: RoutingError.badMap(expert: 2, local: 0, experts: 3)) { try BlockRule.ExpertMap([0, -1, 0]) }
        #expect(throws: RoutingError.badMap(expert: 1, local: 3, experts: 3)) { try BlockRule.ExpertMap([0, 3, 1]) }
        #expect(throws: RoutingError.badMap(expert: 0, local: -2, experts: 1)) { try BlockRule.ExpertMap([-2]) }
        #expect(throws: RoutingError.mapLength(1, experts: 2)) {
            try BlockRule(experts: 2, blockSize: 4, map: BlockRule.ExpertMap([0]))
        }
        #expect(throws: RoutingError.tooLarge(pairs: 1, experts: 1 << 20, blockSize: 1 << 20)) {
            try Aligned([0], experts: 1 << 20, block: 1 << 20)
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
        try Aligned.align(workspace, BlockRule(experts: 4, blockSize: 3), [0, 2, 2])
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
            try Aligned.align(workspace, BlockRule(experts: 2, blockSize: 4), [1, 1, -1, 0], countsInto: row)
            #expect(workspace.counts.baseAddress == UnsafePointer(row))
        }
        #expect(rows == [9, 9, 1, 2, 9, 9])
    }

    @Test("rows beyond what a short cursor counts", arguments: [(1 << 16) - 1, 1 << 16, (1 << 16) + 1, 1 << 17])
    func manyRows(bound: Int) throws {
        // The rows of one block an expert, and the pairs, add up to `bound` or just above.
        var random = SeededGenerator(seed: UInt64(bound))
        let experts = 5
        let pairs = 900
        let ids = (0..<pairs).map { _ in Int32.random(in: 0..<Int32(experts), using: &random) }
        let block = (bound - pairs + experts - 1) / experts
        let found = try Aligned(ids, experts: experts, block: block)
        #expect(found == Aligned(plainly: ids, experts: experts, block: block))
        #expect(found.paddedCount == experts * block)
    }

    @Test(
        "every instruction set counts alike and notices a wrong id wherever it is",
        arguments: ["avx512", "avx2", "baseline"])
    func instructionSets(name: String) {
        guard let kernels = route_kernels_named(name) else { return }
        var random = SeededGenerator(seed: 3)
        func count(_ ids: [Int32], experts: Int, tables: Int) -> [Int32]? {
            var table = [Int32](repeating: 77, count: tables * (experts + 1))
            let isValid = table.withUnsafeMutableBufferPointer { table in
                kernels.pointee.count(ids, ids.count, Int32(experts), table.baseAddress, Int32(tables))
            }
            return isValid ? Array(table.prefix(experts + 1)) : nil
        }
        for (pairs, experts) in [(1, 1), (63, 60), (64, 7), (65, 256), (200, 3), (1031, 64)] {
            for tables in [1, 4] {
                var ids = (0..<pairs).map { _ in Int32.random(in: -1..<Int32(experts), using: &random) }
                let plain = (-1..<Int32(experts)).map { bucket in Int32(ids.count { $0 == bucket }) }
                #expect(count(ids, experts: experts, tables: tables) == plain)
                for position in [0, pairs / 2, pairs - 1] {
                    for wrong in [Int32(experts), -2, .min, .max] {
                        let right = ids[position]
                        ids[position] = wrong
                        #expect(count(ids, experts: experts, tables: tables) == nil)
                        ids[position] = right
                    }
                }
            }
        }
    }

    @Test("the first wrong id is named", arguments: [Int32(4), -2, .min, .max])
    func wrongID(id: Int32) {
        #expect(throws: RoutingError.expertOutOfRange(position: 2, id: id, experts: 4)) {
            try Aligned([3, -1, id, 0, 99, -5], experts: 4, block: 2)
        }
    }

    @Test("after an error the result is empty, the row untouched, and the workspace usable")
    func afterError() throws {
        let workspace = BlockAlignment()
        var row: [Int32] = [5, 5]
        #expect(throws: RoutingError.self) {
            try row.withUnsafeMutableBufferPointer {
                try Aligned.align(
                    workspace, BlockRule(experts: 2, blockSize: 2), [0, 2], countsInto: $0.baseAddress)
            }
        }
        #expect(row == [5, 5] && workspace.paddedCount == 0 && workspace.sortedPairs.isEmpty)
        #expect(try Aligned([1, 0], experts: 2, block: 1, workspace: workspace).sortedPairs == [1, 0])
    }
}
