// ServerState: what all routes share.

internal import Engine
internal import Hummingbird
internal import Synchronization

#if canImport(FoundationEssentials)
    internal import FoundationEssentials
#else
    internal import Foundation
#endif

/// What all routes share. Whether the server is draining is the only thing that changes, under its `Mutex`.
final class ServerState: Sendable {
    let engine: any InferenceEngine
    let generator: TextGenerator
    let pulse: EnginePulse
    let settings: ServerSettings
    /// Seconds since 1970 when the server was made.
    let created = Int(Date.now.timeIntervalSince1970)
    private let draining = Mutex(false)

    init(engine: any InferenceEngine, generator: TextGenerator, settings: ServerSettings) {
        self.engine = engine
        self.generator = generator
        pulse = EnginePulse(engine: engine)
        self.settings = settings
    }

    /// Whether the server has been told to stop.
    var isDraining: Bool { draining.withLock { $0 } }

    /// Refuses new work, and returns when the running work has ended or the timeout has passed.
    func drain() async {
        draining.withLock { $0 = true }
        await engine.shutdown(deadline: settings.shutdownTimeout)
    }

    /// Seconds since 1970.
    static var now: Int { Int(Date.now.timeIntervalSince1970) }
}
