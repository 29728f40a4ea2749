// RoutedExpertsForm: how the experts of a request's tokens go into a reply: base64 of an array [tokens, layers, K].

internal import Engine
internal import Foundation

/// The width of an id in the array.
enum RoutedExpertsForm: Sendable, Equatable {
    /// Four bytes, as sglang's clients know it.
    case int32
    /// One byte where all ids fit, else two.
    case compact

    /// `true`, `"int32"` or `"compact"`; false asks for nothing.
    struct Asked: Decodable {
        var form: RoutedExpertsForm?

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if let flag = try? container.decode(Bool.self) {
                form = flag ? .int32 : nil
                return
            }
            switch try container.decode(String.self) {
            case "int32": form = .int32
            case "compact": form = .compact
            case let other:
                throw RequestError(
                    "return_routed_experts is \"\(other)\", but must be true, \"int32\" or \"compact\".",
                    field: "return_routed_experts")
            }
        }
    }

    /// The array as base64, and the type of its entries.
    func encode(_ experts: RoutedExperts) -> (text: String, type: String) {
        switch self {
        case .int32: (Self.base64(experts.ids, as: Int32.self), "int32")
        case .compact:
            experts.ids.allSatisfy { $0 <= Int32(UInt8.max) }
                ? (Self.base64(experts.ids, as: UInt8.self), "uint8")
                : (Self.base64(experts.ids, as: UInt16.self), "uint16")
        }
    }

    private static func base64<Entry: FixedWidthInteger>(_ ids: [Int32], as type: Entry.Type) -> String {
        ids.map { Entry(truncatingIfNeeded: $0).littleEndian }.withUnsafeBytes { Data($0) }.base64EncodedString()
    }
}

/// The fields that ask for experts in OpenAI's requests.
struct RoutedExpertsFields: Decodable, Sendable {
    var form: RoutedExpertsForm?
    var start: Int

    private enum CodingKeys: String, CodingKey {
        case form = "return_routed_experts"
        case start = "routed_experts_start_len"
    }

    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        form = try container.decodeIfPresent(RoutedExpertsForm.Asked.self, forKey: .form)?.form
        start = try container.decodeIfPresent(Int.self, forKey: .start) ?? 0
    }

    /// Asks for what the fields ask for.
    func apply(to request: inout TextRequest) {
        if form != nil { request.routedExpertsStart = start }
    }

    /// What the reply says about `output`, the first choice; nil when nothing was asked for.
    func report(_ output: TextOutput?) -> ReplyExtension? {
        guard let form, let experts = output?.routedExperts else { return nil }
        return ReplyExtension(experts, form: form)
    }
}

/// `sglext`: what sglang adds to OpenAI's replies.
struct ReplyExtension: Encodable {
    private var routedExperts: String
    private var type: String
    private var shape: [Int]

    enum CodingKeys: String, CodingKey {
        case routedExperts = "routed_experts"
        case type = "routed_experts_dtype"
        case shape = "routed_experts_shape"
    }

    init(_ experts: RoutedExperts, form: RoutedExpertsForm) {
        (routedExperts, type) = form.encode(experts)
        shape = [experts.tokens, experts.layers, experts.topK]
    }
}
