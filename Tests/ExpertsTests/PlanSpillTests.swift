// Hierarchical plans with and without spill: who stays at home, and what leaving is good for.

import Experts
import Support
import Testing

@Suite struct PlanSpillTests {
    private static func nodes(_ placement: Placement, layer: Int, expert: Int, of nodes: Int) -> Set<Int> {
        Set(placement.replicas(layer: layer, expert: expert).map { Int($0) / (placement.physicalExperts / nodes) })
    }

    static let loads = PlanLoad.all.filter { $0.name.hasPrefix("dsv3_g32") && $0.family != "ties" }

    @Test("experts stay at home, spilled replicas only help", arguments: loads)
    func spill(_ test: PlanLoad) throws {
        let load = try LoadMatrix(rows: [test.rows[0]])
        let shape = PlanShape(slots: test.slots, ranks: test.ranks, nodes: 4, groups: 8)
        let reference = try PlacementPlan.compatible(load: load, shape: shape).placement
        let kept = try PlacementPlan.balanced(load: load, shape: shape).placement
        let spilled = try PlacementPlan.balanced(load: load, shape: shape, spill: true).placement
        for expert in 0..<load.experts {
            let home = Self.nodes(reference, layer: 0, expert: expert, of: 4)
            #expect(home.count == 1)
            #expect(Self.nodes(kept, layer: 0, expert: expert, of: 4) == home)
            #expect(Self.nodes(spilled, layer: 0, expert: expert, of: 4).isSuperset(of: home))
        }
        let balances = [reference, kept, spilled].map { load.balancedness(layer: 0, in: $0) }
        #expect(balances[0] <= balances[1] + 1e-6 && balances[1] <= balances[2] + 1e-6)
        if test.family == "hot" { #expect(balances[0] < 0.28 && balances[2] > 0.6) }
    }
}
