// TestTensors: weights, activations and token layouts for kernel tests, as plain arrays and as what a backend takes.

import CPUKernels
import Foundation
import Support
import Testing

@testable import Compute

/// The instruction sets that this machine has.
let instructionSets = ["avx512bf16", "avx512", "avx2", "baseline"].filter { (name: String) in
    cpu_kernels_named(name) != nil
}

func makeBackend(_ instructionSet: String, threads: Int = 1) throws -> CPUBackend {
    try #require(CPUBackend(threads: threads, instructionSet: instructionSet))
}

/// `bytes` as a mapped file that lives as long as something uses it.
func mapped(_ bytes: [UInt8]) throws -> MappedBytes {
    let folder = try TemporaryFolder()
    try folder.write(bytes, to: "test.safetensors")
    return try MappedBytes(path: folder.path(of: "test.safetensors"))
}

/// A weight as a checkpoint holds it, and the numbers in it.
struct TestWeight {
    let tensor: Tensor
    let values: [Float]

    /// The tensor of `shape` with `values`, rounded to `dtype`. `padding` blanks in the header move the data.
    init(_ dtype: DType, shape: [Int], values: [Float], padding: Int = 0) throws {
        var writer = SafetensorsWriter()
        switch dtype {
        case .float32:
            self.values = values
            writer.add("weight", dtype: "F32", shape: shape, bytes: SafetensorsWriter.float32(values))
        case .bfloat16:
            self.values = values.map { Float(bitPattern: $0.bitPattern & 0xFFFF_0000) }
            writer.add("weight", dtype: "BF16", shape: shape, bytes: SafetensorsWriter.bfloat16(values))
        default:
            self.values = values.map { Float(Float16($0)) }
            writer.add("weight", dtype: "F16", shape: shape, bytes: SafetensorsWriter.float16(values))
        }
        let file = try SafetensorsFile(mapped(writer.file(padding: padding)))
        tensor = try #require(file.tensors["weight"])
    }

    /// A tensor of numbers in -1...1.
    init(_ dtype: DType, shape: [Int], using generator: inout SeededGenerator) throws {
        try self.init(dtype, shape: shape, values: randomFloats(shape.reduce(1, *), using: &generator))
    }

    /// Row `index` of a matrix.
    func row(_ index: Int) -> ArraySlice<Float> {
        let width = tensor.shape[1]
        return values[index * width..<(index + 1) * width]
    }
}

/// Numbers in -1...1.
func randomFloats(_ count: Int, using generator: inout SeededGenerator) -> [Float] {
    (0..<count).map { _ in Float(Int32(truncatingIfNeeded: generator.next())) * 0x1p-31 }
}

/// Σ x w in Double, and Σ |x w|, by which rounding errors are judged.
func dot(_ x: ArraySlice<Float>, _ w: ArraySlice<Float>) -> (value: Double, size: Double) {
    precondition(x.count == w.count, "\(x.count) numbers times \(w.count)")
    return x.withUnsafeBufferPointer { x in
        w.withUnsafeBufferPointer { w in
            var value = 0.0
            var size = 0.0
            var index = 0
            while index < x.count {  // a range would take most of a debug build's time
                let product = Double(x[index]) * Double(w[index])
                value += product
                size += abs(product)
                index += 1
            }
            return (value, size)
        }
    }
}

func silu(_ x: Double) -> Double { x / (1 + exp(-x)) }

extension Buffer {
    /// A buffer with `values` in rows of `width`.
    init(_ values: [Float], width: Int) {
        self.init(rows: values.count / width, width: width)
        for (index, value) in values.enumerated() { floats[index] = value }
    }

    /// A buffer of one number: NaN shows what a kernel leaves out.
    init(rows: Int, width: Int, repeating value: Float) {
        self.init(rows: rows, width: width)
        for index in 0..<rows * width { floats[index] = value }
    }

    /// The first `count` rows.
    func values(rows count: Int) -> [Float] { Array(UnsafeBufferPointer(start: floats, count: count * width)) }
}

/// The tokens of a pass as arrays.
struct TestTokens {
    var ids: [Int32] = []
    var positions: [Int32] = []
    var sequences: [Int32] = []
    var pageTables: [Int32] = [0]
    var tableStride = 1
    var promptStart = 0

    /// Pages of all sequences, and one that nobody owns.
    var pageCount: Int { Int(pageTables.max() ?? 0) + 1 }

    func withLayout<Result>(_ body: (TokenLayout) throws -> Result) rethrows -> Result {
        try ids.withUnsafeBufferPointer { ids in
            try positions.withUnsafeBufferPointer { positions in
                try sequences.withUnsafeBufferPointer { sequences in
                    try pageTables.withUnsafeBufferPointer { tables in
                        try body(
                            TokenLayout(
                                count: ids.count, ids: ids.baseAddress!, positions: positions.baseAddress!,
                                sequences: sequences.baseAddress!, pageTables: tables.baseAddress!,
                                tableStride: tableStride, promptStart: promptStart))
                    }
                }
            }
        }
    }
}

extension TestTokens {
    /// Whole sequences of `lengths` tokens whose positions lie on pages in no order. The last page belongs to nobody: it is behind
    /// each table's end, and must not be read.
    init(scattering lengths: [Int], using generator: inout SeededGenerator) {
        let pages = lengths.map { ($0 + KVCache.pageSize - 1) / KVCache.pageSize }
        let last = pages.reduce(0, +)
        var free = (0..<last).map(Int32.init).shuffled(using: &generator)
        tableStride = (pages.max() ?? 0) + 1
        pageTables = []
        for (sequence, length) in lengths.enumerated() {
            ids += (0..<length).map(Int32.init)
            positions += (0..<length).map(Int32.init)
            sequences += Array(repeating: Int32(sequence), count: length)
            pageTables += free.suffix(pages[sequence])
            pageTables += Array(repeating: Int32(last), count: tableStride - pages[sequence])
            free.removeLast(pages[sequence])
        }
    }
}

extension CPUBackend {
    /// The weights of `matrix` as they are kept, `[inputs, outputs]`: what one row at a time of the identity becomes.
    func kept(_ matrix: Matrix) -> [Float] {
        (0..<matrix.inputs).flatMap { k in
            var unit = [Float](repeating: 0, count: matrix.inputs)
            unit[k] = 1
            let column = Buffer(rows: 1, width: matrix.outputs)
            linear(
                Buffer(unit, width: matrix.inputs), count: 1, weight: matrix, bias: nil, out: column, accumulate: false)
            return column.values(rows: 1)
        }
    }
}

extension DType {
    /// The types that weights may have.
    static let weights: [DType] = [.bfloat16, .float16, .float32]
}

/// `x` in bfloat16: to the nearest, to even.
func roundedToBFloat16(_ x: Float) -> Float {
    if x.isNaN { return x }
    let (lower, step) = (x.bitPattern & 0xFFFF_0000, x.bitPattern & 0xFFFF)
    let isUp = step > 0x8000 || step == 0x8000 && lower & 0x1_0000 != 0
    return Float(bitPattern: lower + (isUp ? 0x1_0000 : 0))
}

extension KVCache {
    /// Rounds all that a cache in float32 holds.
    func roundToBFloat16() {
        for buffer in keys + values {
            for index in 0..<buffer.rows * buffer.width {
                buffer.floats[index] = roundedToBFloat16(buffer.floats[index])
            }
        }
    }
}
