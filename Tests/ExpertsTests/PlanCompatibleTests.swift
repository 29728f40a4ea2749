// The compatible plan against outputs of DeepSeek's EPLB, slot for slot and replica for replica.

import Experts
import Support
import Testing

/// A public vector: a load, a shape, and what the reference made of it.
struct PlanVector: Decodable, CustomTestStringConvertible {
    struct Expected: Decodable {
        var slots: [[Int32]]
        var replicas: [[[Int32]]]
        var replicaCounts: [[Int32]]
        var balancedness: [Double]

        enum CodingKeys: String, CodingKey {
            case slots = "physical_to_logical_map"
            case replicas = "logical_to_physical_map"
            case replicaCounts = "logical_replica_count"
            case balancedness
        }
    }

    struct File: Decodable { var cases: [PlanVector] }

    var name: String
    var slots: Int
    var groups: Int
    var nodes: Int
    var ranks: Int
    var load: [[Int]]
    var expected: Expected

    enum CodingKeys: String, CodingKey {
        case name, expected
        case slots = "num_physical"
        case groups = "num_groups"
        case nodes = "num_nodes"
        case ranks = "num_gpus"
        case load = "logical_count"
    }

    var testDescription: String { name }
    var shape: PlanShape { PlanShape(slots: slots, ranks: ranks, nodes: nodes, groups: groups) }

    static let all = ["small", "models", "large"].flatMap { size in
        (try? Golden.decode(File.self, "eplb/compat_\(size).json"))?.cases ?? []
    }
}

@Suite struct PlanCompatibleTests {
    @Test("every public vector was found")
    func vectorsExist() { #expect(PlanVector.all.count == 42) }

    @Test("slots and replica ranks equal the reference", arguments: PlanVector.all)
    func vector(_ vector: PlanVector) throws {
        let load = try LoadMatrix(rows: vector.load)
        let plan = try PlacementPlan.compatible(load: load, shape: vector.shape)
        #expect(plan.placement.physicalToLogical == vector.expected.slots.flatMap { $0 })
        #expect(plan.placement.replicaCounts == vector.expected.replicaCounts.flatMap { $0 })
        let replicas = vector.expected.replicas.flatMap { row in
            row.flatMap { slots in slots + repeatElement(-1, count: vector.slots - slots.count) }
        }
        #expect(plan.logicalToAllPhysical(width: vector.slots) == replicas)
        for (layer, expected) in vector.expected.balancedness.enumerated() {
            // Vectors print nine digits and judge loads before rounding to float32.
            #expect(abs(load.balancedness(layer: layer, in: plan.placement) - expected) < 2e-8)
        }
    }

    struct Example: Sendable {
        var load: [Int]
        var shape: PlanShape
        var slots: [Int32]
    }

    static let examples = [
        Example(load: [10, 1, 1, 4], shape: PlanShape(slots: 6, ranks: 2), slots: [3, 0, 2, 0, 0, 1]),
        Example(load: [10, 1, 1, 4], shape: PlanShape(slots: 8, ranks: 4), slots: [0, 3, 0, 3, 0, 1, 0, 2]),
        Example(load: [10, 1, 1, 4], shape: PlanShape(slots: 4, ranks: 2), slots: [0, 2, 3, 1]),
        Example(load: [0, 0, 0, 0], shape: PlanShape(slots: 6, ranks: 2), slots: [0, 1, 2, 3, 0, 0]),
        // Groups order the experts even of a single node, heavy groups first, and so decide ties.
        Example(load: [1, 2, 2, 3], shape: PlanShape(slots: 6, ranks: 2, groups: 2), slots: [1, 2, 0, 3, 3, 2]),
    ]

    @Test("worked examples", arguments: 0..<5)
    func example(index: Int) throws {
        let example = Self.examples[index]
        let load = try LoadMatrix(rows: [example.load])
        let plan = try PlacementPlan.compatible(load: load, shape: example.shape)
        #expect(plan.placement.physicalToLogical == example.slots)
    }

    @Test("replica ranks are in order of creation")
    func replicaOrder() throws {
        let load = try LoadMatrix(rows: [[10, 1, 1, 4]])
        let plan = try PlacementPlan.compatible(load: load, shape: PlanShape(slots: 6, ranks: 2))
        #expect(Array(plan.logicalToAllPhysical(width: 3).prefix(3)) == [3, 4, 1])
    }
}
