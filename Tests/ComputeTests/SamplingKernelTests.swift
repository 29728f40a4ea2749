import Foundation
import Support
import Testing

@testable import Compute

@Suite struct SamplingKernelTests {
    private struct Statistics: Equatable {
        var best: Int32
        var maximum: Float
        var logSumExp: Float
    }

    private func statistics(_ rows: [[Float]], on backend: CPUBackend) -> [Statistics] {
        var best = [Int32](repeating: -1, count: rows.count)
        var maximum = [Float](repeating: .nan, count: rows.count)
        var logSumExp = maximum
        backend.statistics(
            Buffer(rows.flatMap { $0 }, width: rows[0].count), count: rows.count, best: &best, maximum: &maximum,
            logSumExp: &logSumExp)
        return rows.indices.map { Statistics(best: best[$0], maximum: maximum[$0], logSumExp: logSumExp[$0]) }
    }

    @Test(
        "statistics are the first largest logit and the logarithm of the sum",
        arguments: instructionSets, [1, 2, 15, 16, 17, 100, 1003])
    func statistics(instructionSet: String, width: Int) throws {
        let backend = try makeBackend(instructionSet, threads: 2)
        defer { backend.stop() }
        var generator = SeededGenerator(seed: 21)
        // Rounded to tenths, so that ties are common in wide rows.
        let rows = (0..<50).map { _ in randomFloats(width, using: &generator).map { ($0 * 100).rounded() / 10 } }
        for (row, found) in zip(rows, statistics(rows, on: backend)) {
            let maximum = try #require(row.max())
            #expect(found.best == row.firstIndex(of: maximum).map(Int32.init))
            #expect(found.maximum == maximum)
            let expected = log(row.reduce(0.0) { $0 + exp(Double($1)) })
            // One rounding of a number of the logits' size (up to 17), and 1e-6 for the exponentials and their sum.
            #expect(abs(Double(found.logSumExp) - expected) <= 17 * 0x1p-24 + 1e-6)
            #expect(statistics([row], on: backend) == [found], "a row alone")
        }
    }

    @Test("the largest logit is found without the sum, wherever it lies", arguments: instructionSets)
    func best(instructionSet: String) throws {
        let backend = try makeBackend(instructionSet)
        for place in 0..<100 {
            var row = [Float](repeating: 1, count: 100)
            for index in place..<100 { row[index] = 2 }
            var (best, maximum) = (Int32(-1), Float.nan)
            backend.statistics(Buffer(row, width: 100), count: 1, best: &best, maximum: &maximum, logSumExp: nil)
            #expect(best == place && maximum == 2)
        }
    }

    @Test("NaN never wins and adds nothing", arguments: instructionSets, [0, 1, 15, 16, 18])
    func nan(instructionSet: String, place: Int) throws {
        let backend = try makeBackend(instructionSet)
        var row = (0..<19).map { Float($0 % 7) }
        row[place] = .nan
        let found = try #require(statistics([row], on: backend).first)
        let numbers = row.filter { !$0.isNaN }
        #expect(found.best == row.firstIndex(of: 6).map(Int32.init) && found.maximum == 6)
        #expect(abs(Double(found.logSumExp) - log(numbers.reduce(0.0) { $0 + exp(Double($1)) })) < 2e-6)
    }

    @Test(
        "rows without a finite maximum have an answer", arguments: instructionSets,
        [
            ([.nan, .nan, .nan], 0, -.infinity, -.infinity),
            ([-.infinity, -.infinity, -.infinity], 0, -.infinity, -.infinity),
            ([.nan, -.infinity, .nan], 1, -.infinity, -.infinity),
            ([0, .infinity, .nan], 1, .infinity, .infinity),
            ([.infinity, .infinity, -.infinity], 0, .infinity, .infinity),
            ([-.infinity, 3, .nan], 1, 3, 3),
        ] as [([Float], Int32, Float, Float)])
    func limits(instructionSet: String, row: ([Float], best: Int32, maximum: Float, logSumExp: Float)) throws {
        let backend = try makeBackend(instructionSet)
        let expected = Statistics(best: row.best, maximum: row.maximum, logSumExp: row.logSumExp)
        // Alone, in the vector part of a wider row, and in its rest.
        for repeats in [1, 6, 7] {
            let wide = (0..<repeats).flatMap { _ in row.0 }
            var found = try #require(statistics([wide], on: backend).first)
            if row.maximum.isFinite { found.logSumExp -= log(Float(repeats)) }
            #expect(found.best == expected.best && found.maximum == expected.maximum)
            #expect(found.logSumExp == expected.logSumExp || abs(found.logSumExp - expected.logSumExp) < 1e-6)
        }
    }

    @Test(
        "exponentials are exp of the logit below the maximum over the temperature",
        arguments: instructionSets, [0.1, 0.7, 1, 2.5] as [Float])
    func exponentials(instructionSet: String, temperature: Float) throws {
        let backend = try makeBackend(instructionSet)
        var generator = SeededGenerator(seed: 22)
        for count in [1, 15, 16, 17, 1003] {
            var logits = randomFloats(count, using: &generator).map { $0 * 20 }
            if count > 2 { (logits[1], logits[2]) = (-.infinity, .nan) }
            let maximum = logits.reduce(-.infinity) { $1 > $0 ? $1 : $0 }
            var found = [Float](repeating: -1, count: count + 1)
            backend.exponentials(
                logits, count: count, maximum: maximum, temperature: temperature, probabilities: &found)
            #expect(found[count] == -1, "nothing is written behind the last")
            for (logit, found) in zip(logits, found) {
                guard logit.isFinite else {
                    #expect(found == 0)
                    continue
                }
                let exponent = (Double(logit) - Double(maximum)) / Double(temperature)
                let expected = exp(exponent)
                // The exponent is rounded twice, each time by half an ulp of at most 400; below e^-87 all is zero.
                #expect(abs(Double(found) - expected) <= expected * (abs(exponent) * 0x1p-22 + 0x1p-21) + 1.7e-38)
            }
        }
    }
}
