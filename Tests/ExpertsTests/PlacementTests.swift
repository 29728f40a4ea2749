// Placements: derived maps, refusals, and folding of counts.

import Experts
import Foundation
import Support
import Testing

@Suite struct PlacementTests {
    private struct Location: Decodable {
        var experts: Int
        var ranks: Int
        var slots: [[Int]]
        var replicas: [[[Int32]]]
        var replicaCounts: [[Int32]]

        enum CodingKeys: String, CodingKey {
            case experts = "num_logical"
            case ranks = "ep_size"
            case slots = "physical_to_logical"
            case replicas = "logical_to_all_physical"
            case replicaCounts = "num_valid"
        }
    }

    @Test("derived maps equal the golden ones")
    func goldenMaps() throws {
        let cases = try Golden.decode([Location].self, "recorder/expert_location.json")
        #expect(!cases.isEmpty)
        for location in cases {
            let placement = try Placement(rows: location.slots, logicalExperts: location.experts, ranks: location.ranks)
            let width = location.replicas[0][0].count
            #expect(placement.logicalToAllPhysical(width: width) == location.replicas.flatMap { $0.flatMap { $0 } })
            #expect(placement.replicaCounts == location.replicaCounts.flatMap { $0 })
            for (layer, row) in location.slots.enumerated() {
                for (slot, expert) in row.enumerated() {
                    #expect(placement.logical(layer: layer, slot: slot) == expert)
                    #expect(placement.replicas(layer: layer, expert: expert).contains(Int32(slot)))
                }
            }
        }
    }

    @Test("the trivial placement repeats the first experts", arguments: [0, 2, 7])
    func trivial(redundant: Int) throws {
        let placement = try Placement.trivial(layers: 3, logicalExperts: 5, redundant: redundant)
        let row = (0..<5 + redundant).map { Int32($0 % 5) }
        #expect(placement.physicalToLogical == row + row + row)
        #expect(placement.physicalExperts == 5 + redundant && placement.epoch == 0)
    }

    @Test("an impossible mapping is refused with its layer and expert")
    func refusals() {
        func error(_ rows: [[Int]], experts: Int = 2, ranks: Int = 1) -> PlacementError? {
            do throws(PlacementError) {
                _ = try Placement(rows: rows, logicalExperts: experts, ranks: ranks)
                return nil
            } catch { return error }
        }
        #expect(error([[0, 1], [0, 2]]) == .expertOutOfRange(layer: 1, slot: 1, expert: 2, logicalExperts: 2))
        #expect(error([[0, -1]]) == .expertOutOfRange(layer: 0, slot: 1, expert: -1, logicalExperts: 2))
        #expect(error([[1 << 40, 1]]) == .expertOutOfRange(layer: 0, slot: 0, expert: 1 << 40, logicalExperts: 2))
        #expect(error([[0, 1], [1, 1]]) == .expertMissing(layer: 1, expert: 0))
        #expect(error([[0, 1], [0, 1, 1]]) == .raggedRow(layer: 1, slots: 3, expected: 2))
        #expect(error([[0, 1, 1]], ranks: 2) == .slotsNotDivisible(slots: 3, ranks: 2))
        #expect(error([]) == .shape(slots: 0, layers: 0, logicalExperts: 2, ranks: 1))
        #expect(error([[], []]) == .shape(slots: 0, layers: 2, logicalExperts: 2, ranks: 1))
        #expect(throws: PlacementError.self) { try Placement.trivial(layers: 0, logicalExperts: 4) }
        #expect(throws: PlacementError.slotsNotDivisible(slots: 5, ranks: 2)) {
            try Placement.trivial(layers: 1, logicalExperts: 4, redundant: 1, ranks: 2)
        }
    }
}
