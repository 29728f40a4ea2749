// What is asked for ahead: every byte once, in order, and never far ahead.

import Foundation
import Support
import Synchronization
import Testing

@testable import Compute

@Suite struct ReadAheadTests {
    /// What was asked for.
    private final class Asked: Sendable {
        let ranges = Mutex<[(name: String, range: Range<Int>)]>([])
        var bytes: Int { ranges.withLock { $0.reduce(0) { $0 + $1.range.count } } }
    }

    /// Tensors of so many floats, whose bytes are nowhere: they are only asked for.
    private func tensors(_ counts: [Int]) throws -> [Tensor] {
        var offset = 0
        let fields = counts.enumerated().map { index, count in
            defer { offset += 4 * count }
            return
                "\"\(index)\": {\"dtype\": \"F32\", \"shape\": [\(count)], \"data_offsets\": [\(offset), \(offset + 4 * count)]}"
        }
        let header = Array("{\(fields.joined(separator: ", "))}".utf8)
        let folder = try TemporaryFolder()
        let path = folder.path + "/model.safetensors"
        try folder.write(
            withUnsafeBytes(of: UInt64(header.count).littleEndian) { Array($0) } + header, to: "model.safetensors")
        // A hole, which takes no room.
        try #require(truncate(path, off_t(8 + header.count + offset)) == 0)
        let file = try SafetensorsFile(try MappedBytes(path: path))
        return try counts.indices.map { try #require(file.tensors["\($0)"]) }
    }

    @Test("every byte is asked for once, in order, at most the distance and a piece ahead")
    func order() throws {
        let counts = [1, 5 << 20, 0, 7, 40 << 20, 3 << 20]
        let tensors = try tensors(counts)
        let total = 4 * counts.reduce(0, +)
        let asked = Asked()
        let ahead = ReadAhead(tensors) { tensor, range in asked.ranges.withLock { $0.append((tensor.name, range)) } }
        var done = 0
        while done < total {
            ahead.finish()
            #expect(asked.bytes >= min(total, done + ReadAhead.distance))
            #expect(asked.bytes <= done + ReadAhead.distance + ReadAhead.piece)
            done = min(total, done + 3 << 20)
            ahead.advance(to: done)
        }
        ahead.finish()
        var place = (tensor: 0, byte: 0)
        for (name, range) in asked.ranges.withLock({ $0 }) {
            while place.byte == tensors[place.tensor].byteCount, place.byte > 0 || range.count > 0 {
                place = (place.tensor + 1, 0)
            }
            #expect(name == tensors[place.tensor].name && range.lowerBound == place.byte)
            #expect(range.count <= ReadAhead.piece)
            place.byte = range.upperBound
        }
        #expect(asked.bytes == total)
    }

    @Test("what has been laid out meanwhile is not asked for; asking for what is in a file changes nothing")
    func passed() throws {
        let tensors = try tensors([64 << 20])
        let asked = Asked()
        let ahead = ReadAhead(tensors) { tensor, range in asked.ranges.withLock { $0.append((tensor.name, range)) } }
        ahead.finish()
        let before = asked.bytes
        ahead.advance(to: 256 << 20)
        ahead.finish()
        #expect(asked.bytes == before)
        let real = ReadAhead(tensors)
        real.advance(to: 100 << 20)
        real.finish()
        #expect(tensors[0].byteCount == 256 << 20)
    }
}
