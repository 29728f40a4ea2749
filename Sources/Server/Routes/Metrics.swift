// Metrics: `/metrics`, for Prometheus.

internal import Engine
internal import HTTPTypes
internal import Hummingbird

/// `GET /metrics`.
struct MetricsRoute: Sendable {
    let state: ServerState

    func register(on router: Router<ServerContext>) {
        router.get("/metrics") { _, _ in
            var page = MetricsPage(model: state.settings.servedModelName)
            page.append(await state.engine.statistics(), state.generator.metrics.values)
            if let status = await state.engine.recordingStatus() { page.append(status) }
            return Response(
                status: .ok, headers: [.contentType: "text/plain; version=0.0.4; charset=utf-8"],
                body: ResponseBody(byteBuffer: ByteBuffer(string: page.text)))
        }
    }
}
