// Models: OpenAI's /v1/models and /v1/models/{id}.

internal import Engine
internal import Foundation
internal import HTTPTypes
internal import Hummingbird

/// `/v1/models` and `/v1/models/{id}`; an id may contain slashes.
struct ModelsRoute: Sendable {
    let state: ServerState

    func register(on router: Router<ServerContext>) {
        router.get("/v1/models") { _, _ in try Response.json(ModelList(data: [card])) }
        router.get("/v1/models/**") { _, context in
            let id = context.parameters.getCatchAll().joined(separator: "/")
            guard (id.removingPercentEncoding ?? id) == card.id else {
                throw RequestFailure(
                    status: .notFound, message: "The model \"\(id)\" is not served here: it is \"\(card.id)\".",
                    field: "model", code: "model_not_found")
            }
            return try Response.json(card)
        }
    }

    private var card: ModelCard {
        ModelCard(
            id: state.settings.servedModelName, created: state.created,
            maxModelLength: state.generator.model.contextLength)
    }
}
