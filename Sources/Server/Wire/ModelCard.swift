// ModelCard: the entries of /v1/models.

/// A model that is served.
struct ModelCard: Encodable {
    var id: String
    var created: Int
    var maxModelLength: Int

    enum CodingKeys: String, CodingKey {
        case id, object, created, root, parent
        case ownedBy = "owned_by"
        case maxModelLength = "max_model_len"
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(id, forKey: .id)
        try container.encode("model", forKey: .object)
        try container.encode(created, forKey: .created)
        try container.encode("sglang", forKey: .ownedBy)
        try container.encode(id, forKey: .root)
        try container.encodeNil(forKey: .parent)
        try container.encode(maxModelLength, forKey: .maxModelLength)
    }
}

/// The reply of /v1/models.
struct ModelList: Encodable {
    var object = "list"
    var data: [ModelCard]
}
