// TextBenchmarks: encoding speed of the demo tokenizer, that it is linear in the input, and that one endless word is
// no harder than many short ones.
//
// Limit: the bytes must be read once, so memory bandwidth. The text is this repository's own Swift and C sources.

import Compute
import DemoModel
import Foundation
import Measure
import Models
import Text

@main
struct TextBenchmarks {
    static func main() throws {
        guard let file = try ModelFiles.demo.bytes("tokenizer.json") else { return }
        let loading = seconds { _ = try? Tokenizer(tokenizerJSON: file.bytes) }
        let tokenizer = try Tokenizer(tokenizerJSON: file.bytes)
        let limits = Limits(threads: 1)
        print("machine: \(Machine.name), one thread")
        print("loading a vocabulary of \(tokenizer.vocabularySize): \(short(loading * 1e3)) ms")

        let sources = repositoryText()
        var rows = [["text", "bytes", "tokens", "median", "MB/s", "time per byte vs 1 MB", "of the limit"]]
        let million = prefix(of: sources, bytes: 1 << 20)
        for (name, text) in [
            ("sources", million), ("sources", prefix(of: sources, bytes: 4 << 20)),
            ("sources", prefix(of: sources, bytes: 16 << 20)),
            ("one word of a's", String(repeating: "a", count: 1 << 20)),
            ("random letters", randomLetters(1 << 20)), ("Chinese", chinese(1 << 20)),
        ] {
            var tokens = 0
            let bytes = text.utf8.count
            let comparison = Comparison(
                rounds: 5, baseline: { tokens = tokenizer.encode(million).count },
                change: { tokens = tokenizer.encode(text).count })
            let perByte = comparison.ratio * Double(bytes) / Double(million.utf8.count)
            rows.append([
                name, "\(bytes)", "\(tokens)", "\(short(comparison.change * 1e3)) ms",
                short(Double(bytes) / comparison.change / 1e6), "\(short(1 / perByte)) x",
                "\(short(100 * Double(bytes) / limits.readBandwidth / comparison.change)) %",
            ])
        }
        print(table(rows))

        let ids = tokenizer.encode(million)
        let whole = seconds { _ = tokenizer.decode(ids) }
        let streamed = seconds {
            var decoder = IncrementalDecoder(tokenizer)
            for id in ids { _ = decoder.append(id) }
        }
        print("decoding \(ids.count) tokens: \(short(whole * 1e3)) ms at once, \(short(streamed * 1e3)) ms one by one")
    }

    /// The repository's sources, repeated to 16 MB.
    private static func repositoryText() -> String {
        let root = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../../Sources").standardized
        var text = ""
        if let files = FileManager.default.enumerator(at: root, includingPropertiesForKeys: nil) {
            for case let url as URL in files where ["swift", "c", "h", "md"].contains(url.pathExtension) {
                text += (try? String(contentsOf: url, encoding: .utf8)) ?? ""
            }
        }
        guard !text.isEmpty else { return String(repeating: "No sources were found here. ", count: 600_000) }
        return String(repeating: text, count: (16 << 20) / text.utf8.count + 1)
    }

    private static func prefix(of text: String, bytes: Int) -> String {
        String(decoding: text.utf8.prefix(bytes), as: UTF8.self)
    }

    private static func randomLetters(_ count: Int) -> String {
        var state: UInt32 = 1
        return String(
            decoding: (0..<count).map { _ -> UInt8 in
                state = state &* 1_664_525 &+ 1_013_904_223
                return UInt8(truncatingIfNeeded: 97 + (state >> 16) % 26)
            }, as: UTF8.self)
    }

    private static func chinese(_ bytes: Int) -> String {
        String(repeating: "专家混合模型把每个词元分派给少数专家，其余专家不参与计算。", count: bytes / 84)
    }
}
