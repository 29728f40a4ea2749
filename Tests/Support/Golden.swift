// Golden: where the reference vectors lie, found from this source file.

public import Foundation

/// The reference vectors under `Tests/Golden`.
public enum Golden {
    /// The folder `Tests/Golden`.
    public static let folder = URL(filePath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().appending(path: "Golden")

    /// The file or folder at `path` below `Tests/Golden`.
    public static func url(_ path: String) -> URL { folder.appending(path: path) }

    /// The bytes of the file at `path` below `Tests/Golden`.
    public static func data(_ path: String) throws -> Data { try Data(contentsOf: url(path)) }

    /// The JSON file at `path` below `Tests/Golden`, decoded; with `snakeCase`, `top_p` is read into `topP`.
    public static func decode<Value: Decodable>(
        _ type: Value.Type, _ path: String, snakeCase: Bool = false
    ) throws -> Value {
        let decoder = JSONDecoder()
        if snakeCase { decoder.keyDecodingStrategy = .convertFromSnakeCase }
        return try decoder.decode(type, from: data(path))
    }
}
