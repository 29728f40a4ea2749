// First placements: trivial, a map, or counts to plan for; from text, JSON and `.pt`, and what is refused.

import Experts
import Foundation
import Support
import Testing

@Suite struct PlacementSourceTests {
    @Test("trivial repeats the first experts in redundant slots")
    func trivial() throws {
        let placement = try Placement.read(" trivial\n", layers: 2, logicalExperts: 3, slots: 4, ranks: 2)
        #expect(placement.physicalToLogical == [0, 1, 2, 0, 0, 1, 2, 0] && placement.ranks == 2)
        #expect(try Placement.read("trivial", layers: 1, logicalExperts: 2).physicalToLogical == [0, 1])
    }

    @Test("a map in JSON text is taken as it is, with other keys beside it")
    func inlineMap() throws {
        let text =
            "{\"physical_to_logical_map\": [[2, 0, 1, 0]], \"about\": {\"x\": 1}, \"logical_count\": [[1, 2, 3]]}"
        let placement = try Placement.read(text, layers: 1, logicalExperts: 3, ranks: 2)
        #expect(placement.physicalToLogical == [2, 0, 1, 0])
    }

    @Test("a map from a .pt file equals the vector's")
    func archive() throws {
        let path = Golden.url("recorder/pt_misc/placement.pt").path(percentEncoded: false)
        let placement = try Placement.read(path, layers: 3, logicalExperts: 6, ranks: 4)
        #expect(Array(placement.physicalToLogical.prefix(8)) == [4, 1, 5, 2, 2, 0, 3, 1])
    }

    @Test("counts are planned for", arguments: ["[[8, 1, 1]]", "[[[4, 1, 0]], [[4, 0, 1]]]", "[[8.0, 1.5, 0.5]]"])
    func counts(table: String) throws {
        let text = "{\"logical_count\": \(table), \"rank\": 0}"
        let placement = try Placement.read(text, layers: 1, logicalExperts: 3, slots: 4, ranks: 2)
        #expect(placement.replicas(layer: 0, expert: 0).count == 2)
    }

    @Test("a recording serves as it is")
    func recording() throws {
        let path = Golden.url("recorder/redundant_8_to_12/stat.pt").path(percentEncoded: false)
        #expect(try Placement.read(path, layers: 4, logicalExperts: 8, slots: 12, ranks: 4).slotsPerRank == 3)
    }

    @Test("what a placement writes it reads again, .json with the one key that other engines take")
    func roundTrip() throws {
        let folder = try TemporaryFolder()
        let placement = try Placement(rows: [[1, 0, 1], [0, 1, 0]], logicalExperts: 2, ranks: 3)
        let about = ArchiveValue.dictionary([.init("policy", .string("balanced"))])
        #expect(try placement.write(folder.path(of: "p.json"), about: about) == folder.path(of: "p.about.json"))
        #expect(try placement.write(folder.path(of: "p.pt"), about: about) == nil)
        for name in ["p.json", "p.pt"] {
            let read = try Placement.read(folder.path(of: name), layers: 2, logicalExperts: 2, slots: 3, ranks: 3)
            #expect(read == placement)
        }
        let data = try Data(contentsOf: folder.url.appending(path: "p.json"))
        #expect(
            try JSONDecoder().decode([String: [[Int]]].self, from: data) == [
                "physical_to_logical_map": [[1, 0, 1], [0, 1, 0]]
            ])
        #expect(throws: ExpertFileError.self) { try placement.write(folder.path(of: "p.txt")) }
    }

    @Test(
        "what cannot be a placement is refused with its place",
        arguments: [
            ("somewhere", "somewhere: found neither a file name nor an object"), ("", "an empty text"),
            ("gone.json", "gone.json: No such file"), ("{\"a\": 1}", "the JSON given: found the keys a"),
            ("{\"physical_to_logical_map\": 3}", "a map of shape []"), ("{", "text that is no JSON"),
            ("{\"physical_to_logical_map\": [[0, 1], [0]]}", "rows of differing sizes"),
            ("{\"physical_to_logical_map\": [[0.5, 1]]}", "a table of whole numbers"),
            ("{\"physical_to_logical_map\": [[0, 1, 0, 1]]}", "a map of 1 layers, expected the model's 2 layers"),
            ("{\"physical_to_logical_map\": [[0, 1], [1, 0]]}", "it goes with 0 redundant experts"),
            ("{\"physical_to_logical_map\": [[0, 1, 1, 0], [1, 1, 1, 1]]}", "layer 1: no slot holds expert 0"),
            ("{\"physical_to_logical_map\": [[0, 1, 1, 0], [0, 1, 7, 1]]}", "layer 1, slot 2 names expert 7"),
            ("{\"logical_count\": [[1, 2], [3, -1]]}", "layer 1, expert 1: the count is negative"),
            ("{\"logical_count\": [[1, 2], [3, null]]}", "layer 1, expert 1: the count is not a finite"),
            ("{\"logical_count\": [[1, 2], [3]]}", "layer 1 counts 1 experts, layer 0 counts 2"),
            ("{\"logical_count\": [[1, 2, 3], [3, 1, 1]]}", "counts of 2 layers × 3 experts"),
            ("{\"logical_count\": []}", "is empty"), ("{\"logical_count\": [[[[1]]]]}", "counts of shape [1, 1, 1, 1]"),
            ("{\"logical_count\": \"x\"}", "no table of numbers"),
        ])
    func refused(value: String, message: String) {
        let error = #expect(throws: ExpertFileError.self) {
            try Placement.read(value, layers: 2, logicalExperts: 2, slots: 4, ranks: 2)
        }
        #expect(error?.description.contains(message) == true, "\(String(describing: error))")
    }
}
