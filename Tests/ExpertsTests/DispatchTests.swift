// Logical to physical experts: the golden tables, the split by weights, and what is refused.

import Experts
import Support
import Testing

/// One golden case of kind `logical_to_physical`.
private struct DispatchCase: Decodable, Sendable, CustomTestStringConvertible {
    var name: String
    var kind: String
    var testDescription: String { name }

    static let all: [DispatchCase] = {
        struct File: Decodable { var cases: [DispatchCase] }
        return ((try? Golden.decode(File.self, "topk/topk.json"))?.cases ?? []).filter {
            $0.kind == "logical_to_physical"
        }
    }()
}

private let golden = Result { try GoldenTensors("topk/topk.safetensors") }

extension Dispatch {
    /// Physical ids of one layer; `[N, K]`.
    fileprivate func replaced(_ ids: [Int32], topK: Int, layer: Int = 0, firstToken: Int = 0) -> [Int32] {
        var ids = ids
        withRow(layer: layer) { row in
            ids.withUnsafeMutableBufferPointer { row.replace($0, topK: topK, firstToken: firstToken) }
        }
        return ids
    }
}

@Suite struct DispatchTests {
    @Test("every golden case was found")
    func goldenCasesExist() { #expect(!DispatchCase.all.isEmpty) }

    @Test("the golden tables hold, static and by row", arguments: DispatchCase.all)
    private func goldenCase(_ test: DispatchCase) throws {
        let tensors = try golden.get()
        let logical = try tensors.int32("\(test.name).logical_ids")
        let map = try tensors.int64("\(test.name).physical_to_logical").map(Int32.init)
        let rank = try tensors.int64("\(test.name).rank_dispatch").map(Int32.init)
        let wanted = try tensors.int32("\(test.name).physical_ids_static")
        let byRow = try tensors.int32("\(test.name).physical_ids_dynamic_row")
        let topK = try #require(tensors.shape("\(test.name).logical_ids").last)
        let placement = try Placement(physicalToLogical: map, layers: 1, logicalExperts: rank.count)
        #expect(try Dispatch(static: placement, slots: rank).replaced(logical, topK: topK) == wanted)
        #expect(Dispatch(dynamic: placement).replaced(logical, topK: topK) == byRow)
    }

    @Test("a table is the layer's own, rows count from the first token, and -1 stays")
    func layersAndRows() throws {
        let placement = try Placement(rows: [[0, 1, 0], [1, 0, 1]], logicalExperts: 2)
        let dispatch = Dispatch(dynamic: placement)
        #expect(dispatch.replaced([0, 0, -1, 1], topK: 1) == [0, 2, -1, 1])
        #expect(dispatch.replaced([0, 0, 1, 1], topK: 1, layer: 1) == [1, 1, 0, 2])
        #expect(dispatch.replaced([0, 0], topK: 1, firstToken: 1) == [2, 0])
    }

    @Test("weights split an expert's tokens in proportion, on any stretch of rows")
    func weighted() throws {
        let placement = try Placement(rows: [[0, 0, 1, 0, 0]], logicalExperts: 2)
        let weights: [Float] = [0.5, 0, 1, 1.5, 2]
        let dispatch = try Dispatch(weighted: placement, weights: weights)
        for first in [0, 1 << 20] {
            let slots = dispatch.replaced([Int32](repeating: 0, count: 4000), topK: 1, firstToken: first)
            for (slot, weight) in weights.enumerated() where slot != 2 {
                let wanted = 1000 * Double(weight)
                #expect(abs(Double(slots.count { $0 == slot }) - wanted) <= 4, "slot \(slot)")
            }
        }
        #expect(dispatch.replaced([1, 1], topK: 2) == [2, 2])
    }

    @Test("tables that cannot dispatch are refused")
    func refused() throws {
        let placement = try Placement(rows: [[0, 1, 1]], logicalExperts: 2)
        #expect(throws: DispatchError.shape(count: 2, expected: 3)) {
            try Dispatch(weighted: placement, weights: [1, 1])
        }
        #expect(throws: DispatchError.badWeight(layer: 0, slot: 1, weight: -1)) {
            try Dispatch(weighted: placement, weights: [1, -1, 2])
        }
        #expect(throws: DispatchError.noWeight(layer: 0, expert: 1)) {
            try Dispatch(weighted: placement, weights: [1, 0, 0])
        }
        #expect(throws: DispatchError.wrongSlot(layer: 0, expert: 1, slot: 0)) {
            try Dispatch(static: placement, slots: [0, 0])
        }
        #expect(throws: DispatchError.shape(count: 1, expected: 2)) { try Dispatch(static: placement, slots: [0]) }
    }
}
