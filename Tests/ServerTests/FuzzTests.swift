import Testing

@testable import Fuzz

/// A few thousand cases of what `Tools/fuzz` runs by the million.
@Suite struct FuzzTests {
    @Test(
        "no bytes trap a reader or make it blame itself",
        arguments: ["generate", "completion", "chat", "safetensors", "tokenizer", "pt", "pickle"])
    func survives(reader: String) throws {
        let subject = try #require(try Subjects.all().first { $0.name == reader })
        let count = 600
        let accepted = try subject.run(count, seed: 1)
        // What is changed too much never comes past the door.
        #expect(accepted > count / 20 && accepted < count, "\(accepted) of \(count) accepted")
    }
}
