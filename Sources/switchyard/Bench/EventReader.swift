// EventReader: follows a stream of server-sent events and counts the tokens in it, without parsing the JSON.

import NIOCore

/// Counts the tokens in a stream of events.
struct EventReader {
    /// Tokens so far.
    private(set) var tokens = 0
    /// Tokens of the prompt, once an event has said it.
    private(set) var promptTokens = 0
    /// What the stream says has gone wrong; an unfinished stream is wrong too.
    var problem: String? { failure ?? (isDone ? nil : "the stream ended without [DONE]") }

    private let countsChunks: Bool
    private var rest: [UInt8] = []
    private var failure: String?
    private var isDone = false

    /// - Parameter countsChunks: whether an event that counts nothing is one token.
    init(countsChunks: Bool) { self.countsChunks = countsChunks }

    /// Takes the next bytes, which may end anywhere.
    mutating func append(_ bytes: ByteBuffer) {
        rest += bytes.readableBytesView
        var start = 0
        var end = 0
        while end + 1 < rest.count {
            if rest[end] == UInt8(ascii: "\n"), rest[end + 1] == UInt8(ascii: "\n") {
                take(rest[start..<end])
                start = end + 2
                end = start
            } else {
                end += 1
            }
        }
        rest.removeFirst(start)
    }

    private mutating func take(_ event: ArraySlice<UInt8>) {
        guard event.starts(with: "data:".utf8) else { return }  // a comment
        if event.suffix(6).elementsEqual("[DONE]".utf8) {
            isDone = true
        } else if contains(event, #"{"error""#) || contains(event, #""type":"abort""#)
            || contains(event, #""finish_reason":"abort""#)
        {
            failure = String(decoding: event.dropFirst(6).prefix(200), as: UTF8.self)
        } else if let count = number(after: #""completion_tokens":"#, in: event) {
            tokens = max(tokens, count)
            promptTokens = number(after: #""prompt_tokens":"#, in: event) ?? promptTokens
        } else if countsChunks, contains(event, #""text":""#) {
            tokens += 1
        }
    }

    /// Quotes within a text are escaped, so a quoted key is found as a key only.
    private func number(after key: StaticString, in event: ArraySlice<UInt8>) -> Int? {
        guard let found = find(event, key) else { return nil }
        let digits = event[found...].drop { $0 == UInt8(ascii: " ") }.prefix { (48...57).contains($0) }
        return Int(String(decoding: digits, as: UTF8.self))
    }

    private func contains(_ event: ArraySlice<UInt8>, _ text: StaticString) -> Bool { find(event, text) != nil }

    /// The place after the last `text`: counts stand near the end.
    private func find(_ event: ArraySlice<UInt8>, _ text: StaticString) -> Int? {
        text.withUTF8Buffer { wanted in
            var place = event.endIndex - wanted.count
            while place >= event.startIndex {
                if event[place] == wanted[0], event[place..<place + wanted.count].elementsEqual(wanted) {
                    return place + wanted.count
                }
                place -= 1
            }
            return nil
        }
    }
}
