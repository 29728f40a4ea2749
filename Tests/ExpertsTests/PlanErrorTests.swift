// Impossible requests: refused with the fact and with what would be possible.

import Experts
import Testing

@Suite struct PlanErrorTests {
    private func error(_ body: () throws -> Void) -> PlanError? {
        do {
            try body()
            return nil
        } catch { return error as? PlanError }
    }

    private func error(rows: [[Double]]) -> PlanError? { error { _ = try LoadMatrix(rows: rows) } }

    @Test("a load must be a rectangle of finite counts of 0 or more")
    func loads() {
        #expect(error(rows: []) == .emptyLoad(layers: 0, experts: 0))
        #expect(error(rows: [[], []]) == .emptyLoad(layers: 2, experts: 0))
        #expect(error(rows: [[1, 2], [1]]) == .raggedLoad(layer: 1, experts: 1, expected: 2))
        #expect(error(rows: [[1, 2], [1, -1]]) == .negativeLoad(layer: 1, expert: 1))
        #expect(error(rows: [[1, .nan]]) == .loadNotFinite(layer: 0, expert: 1))
        #expect(error(rows: [[1], [.infinity]]) == .loadNotFinite(layer: 1, expert: 0))
        #expect(error(rows: [[1e300]]) == .loadNotFinite(layer: 0, expert: 0))
        #expect(
            error { _ = try LoadMatrix([1, 2, 3], layers: 2, experts: 2) }
                == .loadShape(count: 3, layers: 2, experts: 2))
        #expect(error { _ = try LoadMatrix(rows: [[1, -7]]) } == .negativeLoad(layer: 0, expert: 1))
        #expect(error { _ = try LoadMatrix([-0.0 as Float], layers: 1, experts: 1) } == nil)
    }

    @Test("a shape must divide, and hold every expert")
    func shapes() throws {
        let load = try LoadMatrix([Int](repeating: 1, count: 24), layers: 2, experts: 12)
        func error(_ shape: PlanShape) -> PlanError? {
            self.error { _ = try PlacementPlan.compatible(load: load, shape: shape) }
        }
        #expect(error(PlanShape(slots: 18, ranks: 4)) == .slotsNotDivisible(slots: 18, ranks: 4, experts: 12))
        #expect(error(PlanShape(slots: 8, ranks: 4)) == .tooFewSlots(slots: 8, experts: 12, ranks: 4))
        #expect(error(PlanShape(slots: 0, ranks: 4)) == .notPositive(size: "slots", value: 0))
        #expect(error(PlanShape(slots: 16, ranks: -4)) == .notPositive(size: "ranks", value: -4))
        #expect(error(PlanShape(slots: 1 << 40, ranks: 1)) == .tooManySlots(slots: 1 << 40, layers: 2))
        #expect(error(PlanShape(slots: 18, ranks: 3, nodes: 2, groups: 4)) == .ranksNotDivisible(ranks: 3, nodes: 2))
        #expect(
            error(PlanShape(slots: 16, ranks: 4, nodes: 2, groups: 8)) == .expertsNotDivisible(experts: 12, groups: 8))
        #expect(error(PlanShape(slots: 16, ranks: 4, nodes: 2, groups: 3)) == nil)
    }

    @Test("messages say what would be possible")
    func messages() {
        #expect(
            PlanError.slotsNotDivisible(slots: 67, ranks: 8, experts: 64).description
                == "67 slots do not divide among 8 ranks: try 64 or 72")
        #expect(
            PlanError.slotsNotDivisible(slots: 61, ranks: 8, experts: 60).description
                == "61 slots do not divide among 8 ranks: try 64")
        #expect(
            PlanError.tooFewSlots(slots: 56, experts: 60, ranks: 8).description
                == "56 slots cannot hold 60 experts: the fewest on 8 ranks are 64")
        #expect(
            PlanError.ranksNotDivisible(ranks: 5, nodes: 2).message(ranks: "GPUs")
                == "5 GPUs do not divide among 2 nodes: try 1 or 5 nodes, or 4 or 6 GPUs")
        #expect(
            PlanError.ranksNotDivisible(ranks: 12, nodes: 5).description
                == "12 ranks do not divide among 5 nodes: try 4 or 6 nodes, or 10 or 15 ranks")
        #expect(
            PlanError.ranksNotDivisible(ranks: 2, nodes: 3).description
                == "2 ranks do not divide among 3 nodes: try 2 nodes, or 3 ranks")
        #expect(
            PlanError.expertsNotDivisible(experts: 12, groups: 8).description
                == "12 experts do not divide into 8 groups: try 6 or 12")
        #expect(
            PlanError.expertsNotDivisible(experts: 12, groups: 13).description
                == "12 experts do not divide into 13 groups: try 12")
        #expect(
            PlanError.placementMismatch(fact: "layers", placement: 3, request: 2).description
                == "the present placement has 3 layers, the load 2: it is of another model; give one of 2 layers")
        #expect(PlanError.notPositive(size: "ranks", value: 0).message(ranks: "GPUs") == "0 GPUs: at least 1 is needed")
    }

    @Test("the fewest slots hold every expert and divide", arguments: [1, 2, 7, 8, 64], [1, 3, 8, 100])
    func fewestSlots(experts: Int, ranks: Int) {
        let slots = PlanShape.fewestSlots(experts: experts, ranks: ranks)
        #expect(slots >= experts && slots % ranks == 0 && slots - ranks < experts)
        #expect(PlanShape.fewestSlots(experts: .max, ranks: ranks) > 0)
    }
}
