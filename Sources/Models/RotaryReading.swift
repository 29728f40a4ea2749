// RotaryReading: how config.json stretches positions, under its keys old and new.

internal import Compute

/// What `rope_scaling` or `rope_parameters` say.
struct RotaryReading {
    /// How angles are stretched; nil when they are not.
    private(set) var scaling: RotaryScaling?
    /// By what the scores of latent attention are multiplied for it.
    private(set) var scoreFactor: Float = 1
    /// With dynamic scaling, the length up to which angles are plain: beyond, each length has angles of its own.
    private(set) var plainPositions: Int?

    /// Reads both objects; `parameters` is `rope_parameters`.
    init(_ keys: ConfigurationKeys, _ parameters: ConfigurationKeys?, maxPositions: Int) {
        for (key, rope) in [("rope_scaling", keys.object("rope_scaling")), ("rope_parameters", parameters)] {
            guard let rope else { continue }
            let hasFactor = rope.number("factor") != nil
            // Without a type, older files mean linear scaling and newer ones none.
            let kind = rope.string("type") ?? rope.string("rope_type") ?? (hasFactor ? "linear" : "default")
            if kind == "default" { continue }
            guard ["linear", "dynamic", "yarn"].contains(kind) else {
                keys.refuse(key, kind, "linear, dynamic, yarn or none: no other scaling is supported")
                continue
            }
            func positive(_ name: String, missing: Double) -> Float {
                rope.number(name, 1e-6...1e6, "from 1e-6 to 1e6", missing: missing)
            }
            let original = rope.whole("original_max_position_embeddings", missing: maxPositions)
            if kind != "yarn", !hasFactor, rope.isGood("factor") { rope.refuse("factor", "nothing", "a number") }
            let factor = positive("factor", missing: kind == "yarn" ? Double(maxPositions) / Double(original) : 1)
            var yarn = YaRN(factor: factor, originalPositions: original)
            let all = yarn.size(rope.number("mscale_all_dim", 0...1e6, "from 0 to 1e6", missing: 0))
            scoreFactor = all * all
            switch kind {
            case "linear": scaling = .linear(factor)
            case "dynamic": plainPositions = min(original, maxPositions)
            default:
                yarn.fastTurns = positive("beta_fast", missing: 32)
                yarn.slowTurns = positive("beta_slow", missing: 1)
                let mscale = rope.number("mscale", -1e6...1e6, "up to 1e6", missing: 1)
                let factor = rope.number("attention_factor") == nil ? nil : positive("attention_factor", missing: 1)
                yarn.angleFactor = factor ?? yarn.size(max(mscale, 1e-6)) / all
                scaling = .yarn(yarn)
            }
        }
    }
}
