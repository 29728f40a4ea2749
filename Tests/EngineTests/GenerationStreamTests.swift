import Synchronization
import Testing

@testable import Engine

@Suite struct GenerationStreamTests {
    private static let token = GenerationEvent.token(id: 1, logprobs: nil)

    /// Which requests the engine was asked to end.
    private final class Stops: Sendable {
        let indices = Mutex<[Int]>([])

        func add(_ index: Int) { indices.withLock { $0.append(index) } }

        var all: [Int] { indices.withLock { $0.sorted() } }
    }

    private static func isToken(_ event: GenerationEvent) -> Bool {
        if case .token = event { true } else { false }
    }

    @Test("what has come meanwhile comes together, each request's events in order, and then the end")
    func together() async {
        let stops = Stops()
        let (stream, source) = GenerationStream.makeStream(count: 2, onStop: stops.add)
        for id in Int32(1)...3 {
            source.send(.token(id: id, logprobs: nil), of: 0)
            source.send(.token(id: 10 * id, logprobs: nil), of: 1)
        }
        var updates = stream.makeAsyncIterator()
        let first = await updates.next() ?? []
        let ids = first.map { update in
            if case .token(let id, _) = update.event { update.index == 0 ? id : id / 10 } else { Int32(-1) }
        }
        #expect(ids == [1, 1, 2, 2, 3, 3])
        #expect(zip(first, first.dropFirst()).allSatisfy { $0.time <= $1.time })
        source.send(.finished(.length), of: 0)
        #expect(await updates.next()?.count == 1)
        source.send(.finished(.length), of: 1)
        // Nothing follows what was the last.
        source.send(Self.token, of: 1)
        #expect(await updates.next()?.count == 1)
        #expect(await updates.next() == nil)
        #expect(stops.all.isEmpty)
    }

    @Test("a reader is woken by the first token, by so many more, and by the end of a request")
    func pace() async {
        for (pace, expected) in [
            (GenerationStream.Pace.tokens(1), Array(repeating: 1, count: 8)), (.tokens(3), [1, 3, 3, 1]),
            (.tokens(100), [1, 7]), (.finished, [8]),
        ] {
            let (stream, source) = GenerationStream.makeStream(count: 2, pace: pace) { _ in }
            let sizes = Mutex<[Int]>([])
            let reading = Task {
                for await updates in stream {
                    sizes.withLock { $0.append(updates.count { Self.isToken($0.event) }) }
                }
            }
            source.send(.prompt(cachedTokens: 0, logprobs: []), of: 0)
            for sent in 1...8 {
                source.send(Self.token, of: 0)
                // What is due is taken before more comes.
                let due = expected.reduce(into: [0]) { $0.append(($0.last ?? 0) + $1) }.last { $0 <= sent } ?? 0
                while due < 8, sizes.withLock({ $0.reduce(0, +) }) < due { await Task.yield() }
            }
            source.send(.finished(.length), of: 0)
            source.send(.finished(.length), of: 1)
            await reading.value
            #expect(sizes.withLock { $0.filter { $0 > 0 } } == expected, "\(pace)")
        }
    }

    @Test("dropping, cancelling, and reading in a cancelled task end the requests that still run")
    func giveUp() async {
        for way in 0..<3 {
            let stops = Stops()
            var (stream, source): (GenerationStream?, GenerationSource) = GenerationStream.makeStream(
                count: 3, onStop: stops.add)
            source.send(.finished(.length), of: 1)
            switch way {
            case 0: break
            case 1: stream?.cancel()
            default:
                let reading = Task { [stream] in
                    var updates = stream?.makeAsyncIterator()
                    _ = await updates?.next()
                    let rest = await updates?.next()
                    return rest == nil
                }
                reading.cancel()
                #expect(await reading.value)
            }
            #expect(stream?.isCancelled == (way > 0))
            stream = nil
            #expect(stops.all == [0, 2])
            // The engine may not know yet.
            source.send(Self.token, of: 0)
        }
    }

    @Test("stopping one request leaves the others, and what is said of it still comes")
    func stop() async {
        let stops = Stops()
        let (stream, source) = GenerationStream.makeStream(count: 2, onStop: stops.add)
        stream.stop(1)
        #expect(stops.all == [1])
        source.send(.finished(.aborted(message: "stopped")), of: 1)
        source.send(Self.token, of: 0)
        var updates = stream.makeAsyncIterator()
        #expect(await updates.next()?.map(\.index) == [1, 0])
        stream.stop(1)
        #expect(stops.all == [1])
    }

    @Test("an engine that is gone ends the stream")
    func silence() async {
        var (stream, source): (GenerationStream, GenerationSource?) = GenerationStream.makeStream(count: 1) { _ in }
        source?.send(Self.token, of: 0)
        var updates = stream.makeAsyncIterator()
        source = nil
        #expect(await updates.next()?.count == 1)
        #expect(await updates.next() == nil)
        #expect(!stream.isCancelled)
    }

    @Test("readers and engines on many threads lose nothing")
    func storm() async {
        let (stream, source) = GenerationStream.makeStream(count: 8) { _ in }
        await withDiscardingTaskGroup { group in
            for index in 0..<8 {
                group.addTask {
                    for id in Int32(0)..<1000 { source.send(.token(id: id, logprobs: nil), of: index) }
                    source.send(.finished(.length), of: index)
                }
            }
            var next = Array(repeating: Int32(0), count: 8)
            for await updates in stream {
                for update in updates {
                    guard case .token(let id, _) = update.event else { continue }
                    #expect(id == next[update.index])
                    next[update.index] += 1
                }
            }
            #expect(next == Array(repeating: 1000, count: 8))
        }
    }
}
