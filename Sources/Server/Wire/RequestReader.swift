// RequestReader: the bodies that ask for generations, read and checked without a server: for tests with bytes from anywhere.

package import Engine
internal import HTTPTypes
internal import NIOCore

/// Reads the bodies that ask for generations.
package struct RequestReader: Sendable {
    /// Which request a body holds.
    package enum Kind: String, Sendable, CaseIterable {
        case generate, completion, chat
    }

    private let text: ModelText
    private let model: ModelDescription

    /// A reader for a server of `model`.
    package init(text: ModelText, model: ModelDescription) {
        self.text = text
        self.model = model
    }

    /// Whether `body` would be handed to the engine.
    ///
    /// - Throws: an error that a client would see as the server's own.
    package func accepts(_ body: [UInt8], as kind: Kind) throws -> Bool {
        let buffer = ByteBuffer(bytes: body)
        do {
            let plan =
                switch kind {
                case .generate:
                    try buffer.decodeJSON(GenerateRequest.self).plan(vocabularySize: model.vocabularySize)
                case .completion:
                    try buffer.decodeJSON(CompletionRequest.self).plan(vocabularySize: model.vocabularySize)
                case .chat: try ChatRequest(buffer).plan(text: text, model: model)
                }
            return !plan.requests.isEmpty
        } catch {
            guard RequestFailure(error).status.kind == .clientError else { throw error }
            return false
        }
    }
}
