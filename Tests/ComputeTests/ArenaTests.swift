import Testing

@testable import Compute

@Suite struct ArenaTests {
    @Test("pieces lie apart, each at a cache line, and keep their block")
    func pieces() throws {
        var arena: Arena? = Arena()
        var pieces: [Storage] = []
        for size in [1, 100, 1 << 20, 70 << 20, 64, 3] { pieces.append(try #require(arena?.take(size))) }
        arena = nil
        #expect(pieces.map(\.bytes.count) == [1, 100, 1 << 20, 70 << 20, 64, 3])
        for (index, piece) in pieces.enumerated() {
            #expect(Int(bitPattern: piece.bytes.baseAddress) % 64 == 0)
            piece.bytes.initializeMemory(as: UInt8.self, repeating: UInt8(index + 1))
        }
        for (index, piece) in pieces.enumerated() {
            #expect(piece.bytes.allSatisfy { $0 == UInt8(index + 1) }, "piece \(index)")
        }
    }

    @Test("a piece that was taken back is handed out again")
    func takenBack() {
        let arena = Arena()
        let first = arena.take(1000)
        let second = arena.take(2000)
        arena.takeBack(second)
        let third = arena.take(500)
        #expect(third.bytes.baseAddress == second.bytes.baseAddress)
        #expect(first.bytes.baseAddress! + 1024 == third.bytes.baseAddress)
    }
}
