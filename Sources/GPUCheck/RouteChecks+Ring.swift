// RouteChecks: captured passes that record while nobody waits.

import Compute
import Experts

extension RouteChecks {
    /// A captured pass of several layers, replayed with other ids, recorded without a wait in between.
    func ring() throws {
        let (experts, layers, slots, passes) = (96, 5, 4, 11)
        for pairs in [40, 512, 8192, 65536] {
            let rule = try BlockRule(experts: experts, blockSize: 16)
            let alignment = try CUDAAlignment(device, rule: rule, on: stream)
            let input = try DeviceBuffer<Int32>(device, count: layers * pairs)
            let blocks = try Blocks(device, capacity: alignment.capacity(pairs: pairs), blockSize: 16)
            let ring = try CUDARecordRing(device, slots: slots, layers: layers, experts: experts, on: stream)
            func enqueue() throws(CUDAError) {
                for layer in 0..<layers {
                    try alignment.align(
                        ids: input.address + UInt64(layer * pairs * 4), pairs: pairs, into: blocks.memory,
                        record: ring.row(layer: layer), on: stream)
                }
            }
            // Compiled and loaded before the capture.
            try enqueue()
            try ring.pass.fill(byte: 0, on: stream)
            let graph = try stream.capture { () throws(CUDAError) in try enqueue() }
            var rows: [(PinnedBuffer<Int32>, [Int32])] = []
            for pass in 0..<passes {
                let ids = random.ids(tokens: layers * pairs, topK: 1, experts: experts)
                try input.write(ids, on: stream)
                try graph.launch(on: stream)
                let row = try PinnedBuffer<Int32>(count: layers * experts)
                try ring.copy(pass: pass, into: row, on: stream)
                var expected = [Int32](repeating: 0, count: layers * experts)
                for (index, id) in ids.enumerated() { expected[index / pairs * experts + Int(id)] += 1 }
                rows.append((row, expected))
            }
            try stream.synchronize()
            for (pass, row) in rows.enumerated() {
                expect(Array(row.0.elements) == row.1, "\(pairs) pairs, pass \(pass): the ring's counts differ")
            }
            expect(try ring.pass.contents(on: stream)[0] == UInt32(passes), "\(pairs) pairs: pass number")
        }
    }
}
