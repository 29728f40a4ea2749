// GraphTimes: how long launches take on a GPU without the host's share: a graph of many, replayed.

public import Compute

/// Seconds of one launch, the mean of each replay of a graph.
///
/// - Parameters:
///   - stream: where the graph runs.
///   - sets: inputs, which launches take in rotation.
///   - launches: launches in the graph.
///   - replays: replays that are timed, after a tenth as many that are not.
///   - enqueue: enqueues a launch on a set of inputs; called once for each set first, so that nothing is compiled later.
/// - Returns: as many times as replays.
/// - Throws: `CUDAError`.
public func graphTimes(
    on stream: CUDAStream, sets: Int, launches: Int = 32, replays: Int = 100,
    _ enqueue: (Int) throws(CUDAError) -> Void
) throws(CUDAError) -> [Double] {
    for set in 0..<sets { try enqueue(set) }
    let graph = try stream.capture { () throws(CUDAError) in
        for launch in 0..<launches { try enqueue(launch % sets) }
    }
    for _ in 0..<replays / 10 { try graph.launch(on: stream) }
    let start = try CUDAEvent(keepsTime: true)
    let end = try CUDAEvent(keepsTime: true)
    var times: [Double] = []
    for _ in 0..<replays {
        try start.record(on: stream)
        try graph.launch(on: stream)
        try end.record(on: stream)
        try end.wait()
        times.append(Double(try end.milliseconds(since: start)) * 1e-3 / Double(launches))
    }
    return times
}
