// Recordings with extreme values, field by field and several at once: refused, or usable for all that one does with them.

import Support
import Testing

@testable import Experts

/// What stands in another value's place.
private let extremes: [ArchiveValue] =
    [0, -1, 3, 1 << 31, 1 << 46, 1 << 62, .max, .min].map(ArchiveValue.int) + [0.5, 1e300].map(ArchiveValue.float)
    + ["", "-1", "nan", "9223372036854775807"].map(ArchiveValue.string)
    + [.null, .bool(true), .list([]), .list([.list([.list([])])]), .dictionary([])]

/// A step from a value to a part of it.
private enum Step {
    case key(String)
    case index(Int)
}

extension ArchiveValue {
    /// The value's parts; of long lists the first and the last.
    fileprivate var steps: [Step] {
        switch self {
        case .dictionary(let entries): entries.map { .key($0.key) }
        case .list(let members): Set([0, members.count - 1]).filter { $0 >= 0 }.sorted().map { .index($0) }
        default: []
        }
    }

    fileprivate subscript(step: Step) -> ArchiveValue {
        get {
            switch (self, step) {
            case (.dictionary(let entries), .key(let key)): entries.first { $0.key == key }?.value ?? .null
            case (.list(let members), .index(let index)) where index < members.count: members[index]
            default: .null
            }
        }
        set {
            switch (self, step) {
            case (.dictionary(let entries), .key(let key)):
                self = .dictionary(entries.map { $0.key == key ? .init(key, newValue) : $0 })
            case (.list(var members), .index(let index)) where index < members.count:
                members[index] = newValue
                self = .list(members)
            default: break
            }
        }
    }

    /// All ways into the value.
    fileprivate var paths: [[Step]] { steps.flatMap { step in [[step]] + self[step].paths.map { [step] + $0 } } }

    /// The value with another one at `path`.
    fileprivate func replacing(_ path: ArraySlice<Step>, by value: ArchiveValue) -> ArchiveValue {
        guard let step = path.first else { return value }
        var whole = self
        whole[step] = whole[step].replacing(path.dropFirst(), by: value)
        return whole
    }

    /// The value with lists for tensors of one dimension, as which JSON rows are read.
    fileprivate var unpacked: ArchiveValue {
        switch self {
        case .tensor(let tensor): .list((tensor.elements.integers ?? []).map { .int(Int($0)) })
        case .list(let members): .list(members.map(\.unpacked))
        case .dictionary(let entries): .dictionary(entries.map { .init($0.key, $0.value.unpacked) })
        default: self
        }
    }

    fileprivate var json: [UInt8] {
        var bytes: [UInt8] = []
        try? JSONText.write(self) { bytes += $0 }
        return bytes
    }
}

@Suite struct RecordingExtremesTests {
    /// Two passes of two tokens, two layers of three experts in four slots.
    private static func recording(_ mode: RecorderMode) throws -> Recording {
        let placement = try Placement.trivial(layers: 2, logicalExperts: 3, redundant: 1, ranks: 2)
        let recorder = Recorder(
            layers: 2, logicalExperts: 3, physicalExperts: 4, topK: 2,
            settings: .init(mode: mode, capacity: .passes(3)))
        let detail = PassDetail(layers: 2, topK: 2, capacity: 2)
        recorder.start()
        for number in 1...2 {
            var pass = PassCounts(placement: placement)
            pass.begin(pass: number, mode: .decode, tokens: 2, placement: placement)
            pass.withMutableCounts { $0.update(repeating: Int32(number)) }
            detail.begin(tokens: 2)
            [5, 7].withUnsafeBufferPointer { detail.append(request: "a", start: 3, ids: $0) }
            detail.row(layer: 1).update(repeating: 2)
            recorder.append(pass, detail: detail)
        }
        return Recording(recorder.dump(), model: "m", averageUtilization: 0.5)
    }

    /// Reads `bytes` and, if they are a recording, does everything that one does with recordings.
    private func use(_ bytes: [UInt8]) throws {
        if let series = try? LoadSeries(bytes: bytes, source: "x"), let total = try? series.total() {
            for layer in 0..<min(4, total.layers) { _ = LayerLoad(layer: layer, total.row(layer)) }
            if let placement = series.placement { _ = try? IncrementalPlan(from: placement, windows: [total]) }
        }
        guard let recording = try? Recording(bytes: bytes), recording.layers <= 4 else { return }
        #expect(try Recording(bytes: recording.bytes(.safetensors)) == recording)
        #expect(try Recording(bytes: recording.bytes(.json)).counts == recording.counts)
        _ = recording.load { $0.mode == .decode }
        _ = TerminalHeatMap().text(recording.totals, experts: recording.logicalExperts)
        _ = HotExpert.hottest(recording.totals, experts: recording.logicalExperts, limit: 3)
        _ = SVGPlot(recording).svg()
        for recording in [recording] + (1...3).compactMap({ try? recording.spread(over: $0) }) {
            let rates = recording.balancedness { _ in true } ?? []
            #expect(rates.allSatisfy { (0.3...1).contains($0) })
            #expect((recording.balancednessWindow()?.mean(last: 10)).map { (0.3...1).contains($0) } ?? true)
            _ = recording.rankLoads()
        }
    }

    @Test("one extreme value in any field of a JSON file", arguments: [RecorderMode.stat, .perToken])
    func json(mode: RecorderMode) throws {
        let whole = try #require(
            Self.recording(mode).bytes(.json).withUnsafeBytes { JSONText.read($0) }
        ).unpacked
        let paths = whole.paths
        #expect(paths.count > 40)
        for path in paths {
            for extreme in extremes { try use(whole.replacing(path[...], by: extreme).json) }
        }
    }

    @Test("several extreme values at once in a JSON file", arguments: RecorderMode.allCases)
    func several(mode: RecorderMode) throws {
        var random = SeededGenerator(seed: 7)
        let whole = try #require(
            Self.recording(mode).bytes(.json).withUnsafeBytes { JSONText.read($0) }
        ).unpacked
        let paths = whole.paths
        for _ in 0..<150 {
            var value = whole
            for _ in 0..<Int.random(in: 2...3, using: &random) {
                let path = try #require(paths.randomElement(using: &random))
                value = value.replacing(path[...], by: try #require(extremes.randomElement(using: &random)))
            }
            try use(value.json)
        }
    }

    @Test(
        "one extreme value in any field of a .safetensors header, and in any tensor",
        arguments: [RecorderMode.stat, .perToken])
    func safetensors(mode: RecorderMode) throws {
        let bytes = try Self.recording(mode).bytes(.safetensors)
        let length = Int(UInt64(littleEndian: bytes.withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) }))
        let header = try #require(bytes[8..<8 + length].withUnsafeBytes { JSONText.read($0) }).unpacked
        func file(_ header: ArchiveValue, _ data: ArraySlice<UInt8>) -> [UInt8] {
            var text = header.json
            text += [UInt8](repeating: 0x20, count: (8 - text.count % 8) % 8)
            return withUnsafeBytes(of: UInt64(text.count).littleEndian, Array.init) + text + data
        }
        let data = bytes[(8 + length)...]
        try use(file(header, data))
        for path in header.paths {
            for extreme in extremes { try use(file(header.replacing(path[...], by: extreme), data)) }
        }
        for at in stride(from: data.startIndex, to: data.endIndex, by: 4) {
            for word in [0, 0x7FFF_FFFF, 0x8000_0000, 0x7F80_0000, 0xFFFF_FFFF] as [UInt32] {
                var data = data
                data.replaceSubrange(at..<at + 4, with: withUnsafeBytes(of: word.littleEndian, Array.init))
                try use(file(header, data))
            }
        }
    }

    @Test("a number of experts per token that no memory holds is refused, even where there are no tokens")
    func topK() throws {
        var recording = try Self.recording(.perToken)
        for row in recording.tokens.indices {
            recording.tokens[row] = .init(ids: [], positions: [], runs: [], experts: [])
        }
        recording.requests = []
        for topK in [1 << 62, .max, 0] {
            recording.topK = topK
            let tensors = recording.fields.tensors.map { name, tensor in
                name == "token.experts"
                    ? (name, ArchiveTensor(shape: [0, 2, topK], elements: .int16([]))) : (name, tensor)
            }
            var file = TensorFile()
            file.tensors = tensors
            for entry in recording.fields.scalars {
                switch entry.value {
                case .string(let text): file.metadata[entry.key] = text
                case .int(let number): file.metadata[entry.key] = "\(number)"
                default: break
                }
            }
            var bytes: [UInt8] = []
            try file.write { bytes += $0 }
            #expect(throws: RecordingError.malformed(found: "top_k \(topK)", expected: "1 to 32767")) {
                try Recording(bytes: bytes)
            }
        }
    }

    @Test("the last epoch of all is refused: a plan needs one after it")
    func epoch() throws {
        var recording = try Self.recording(.stat)
        for (epoch, isFine) in [(1 << 53, true), (.max, false)] {
            recording.placements = try recording.placements.map {
                try Placement(
                    physicalToLogical: $0.physicalToLogical, layers: 2, logicalExperts: 3, ranks: 2, epoch: epoch)
            }
            let read = try? Recording(bytes: recording.bytes(.safetensors))
            #expect((read != nil) == isFine)
        }
    }

    @Test("slots of one expert whose counts leave 32 bits together are refused, with whatever total")
    func foldedCounts() throws {
        var recording = try Self.recording(.perPass)
        for (count, isFine) in [(Int32.max / 4, true), (Int32.max, false)] {
            recording.counts = .physical([Int32](repeating: count, count: 16))
            let read = try? Recording(bytes: recording.bytes(.safetensors))
            #expect((read != nil) == isFine)
            guard let read else { continue }
            // Slots 0 and 3 hold expert 0.
            #expect(read.logicalCounts().max() == 2 * count)
        }
    }
}
