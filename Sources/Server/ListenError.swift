// ListenError: why the server cannot listen, in one line that says what to do.

internal import NIOCore
internal import NIOPosix

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// Why the server cannot listen.
public enum ListenError: Error, Equatable, CustomStringConvertible {
    /// Another process listens on the port.
    case portInUse(Int)
    /// The port may not be opened by this user.
    case notPermitted(port: Int)
    /// The host name means nothing, or is not an address of this machine.
    case badHost(String)

    /// The flag at fault and what to do.
    public var description: String {
        switch self {
        case .portInUse(let port): "--port \(port): address already in use; choose another with --port"
        case .notPermitted(let port): "--port \(port): permission denied; choose one above 1023 with --port"
        case .badHost(let host): "--host \(host): not an address of this machine; try --host 127.0.0.1 or 0.0.0.0"
        }
    }

    /// The reason behind an error of NIO; nil when it is about something else.
    init?(_ error: any Error, host: String, port: Int) {
        switch error {
        case let error as ListenError: self = error
        case let error as IOError where error.errnoCode == EADDRINUSE: self = .portInUse(port)
        case let error as IOError where error.errnoCode == EACCES: self = .notPermitted(port: port)
        case let error as IOError where error.errnoCode == EADDRNOTAVAIL: self = .badHost(host)
        case is SocketAddressError, is SocketAddressError.UnknownHost, is NIOConnectionError: self = .badHost(host)
        default: return nil
        }
    }

    /// Listens for an instant, to find out early whether the address can be had.
    ///
    /// - Throws: `ListenError`, or NIO's error when the reason is another.
    public static func check(host: String, port: Int) async throws {
        do {
            let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                .bind(host: host, port: port).get()
            try await channel.close()
        } catch {
            throw ListenError(error, host: host, port: port) ?? error
        }
    }
}
