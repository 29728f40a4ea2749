// ReferenceModel: every architecture in double precision, one token at a time, as its paper writes it: whole sequences, no
// cache, keys and values of latent attention expanded.

import Foundation

/// A model computed plainly.
struct ReferenceModel {
    let model: TinyModel
    let weights: [String: [Double]]

    /// Logits at every position, and how often each expert was chosen, `[L, E]`.
    func run(_ ids: [Int32]) -> (logits: [[Double]], counts: [Int32]) {
        var counts = [Int32](repeating: 0, count: model.layers * model.experts)
        let table = weights["model.embed_tokens.weight"]!
        var hidden = ids.map { Array(table[Int($0) * model.hidden..<(Int($0) + 1) * model.hidden]) }
        for layer in 0..<model.layers {
            let name = "model.layers.\(layer)"
            let normed = hidden.map { norm($0, "\(name).input_layernorm", model.epsilon) }
            let attended = model.isLatent ? latentAttention(normed, name) : attention(normed, name)
            for (token, row) in attended.enumerated() {
                hidden[token] = sum(hidden[token], product(row, "\(name).self_attn.o_proj"))
                let x = norm(hidden[token], "\(name).post_attention_layernorm", model.epsilon)
                guard model.sparse.contains(layer) else {
                    hidden[token] = sum(hidden[token], mlp(x, "\(name).mlp"))
                    continue
                }
                let mlpName = "\(name).\(model.family == .mixtral ? "block_sparse_moe" : "mlp")"
                for (expert, weight) in route(x, mlpName) {
                    counts[layer * model.experts + expert] += 1
                    let output = mlp(x, "\(mlpName).experts.\(expert)")
                    hidden[token] = sum(hidden[token], output.map { $0 * weight })
                }
                guard model.sharedSize > 0 else { continue }
                var shared = mlp(x, "\(mlpName).shared_expert\(model.isLatent ? "s" : "")")
                if model.family == .qwen2 {
                    let gate = sigmoid(product(x, "\(mlpName).shared_expert_gate")[0])
                    shared = shared.map { $0 * gate }
                }
                hidden[token] = sum(hidden[token], shared)
            }
        }
        let head = model.ties ? "model.embed_tokens" : "lm_head"
        return (hidden.map { product(norm($0, "model.norm", model.epsilon), head) }, counts)
    }

    private func attention(_ x: [[Double]], _ name: String) -> [[Double]] {
        let (name, width) = ("\(name).self_attn", model.headDimension)
        func project(_ part: String, heads: Int) -> [[[Double]]] {
            x.enumerated().map { position, row in
                var y = product(row, "\(name).\(part)_proj")
                if model.family == .olmoe, part != "v" { y = norm(y, "\(name).\(part)_norm", model.epsilon) }
                var parts = (0..<heads).map { Array(y[$0 * width..<($0 + 1) * width]) }
                if model.family == .qwen3, part != "v" {
                    parts = parts.map { norm($0, "\(name).\(part)_norm", model.epsilon) }
                }
                if let limit = model.limit { parts = parts.map { $0.map { min(max($0, -limit), limit) } } }
                return part == "v" ? parts : parts.map { turn($0, position: position, isInterleaved: false) }
            }
        }
        let (q, k, v) = (
            project("q", heads: model.heads), project("k", heads: model.kvHeads), project("v", heads: model.kvHeads)
        )
        let group = model.heads / model.kvHeads
        return x.indices.map { position in
            (0..<model.heads).flatMap { head in
                attend(
                    q[position][head], (0...position).map { k[$0][head / group] },
                    (0...position).map { v[$0][head / group] }, scale: 1 / Double(width).squareRoot())
            }
        }
    }

    private func latentAttention(_ x: [[Double]], _ name: String) -> [[Double]] {
        let name = "\(name).self_attn"
        let (width, size) = (model.queryWidth, model.nope + model.value)
        var (q, k, v): ([[[Double]]], [[[Double]]], [[[Double]]]) = ([], [], [])
        for (position, row) in x.enumerated() {
            func turned(_ part: ArraySlice<Double>) -> [Double] {
                turn(Array(part), position: position, isInterleaved: model.interleaved)
            }
            var query = row
            if model.queryRank != nil { query = norm(product(row, "\(name).q_a_proj"), "\(name).q_a_layernorm", 1e-6) }
            query = product(query, "\(name).\(model.queryRank == nil ? "q" : "q_b")_proj")
            let shared = product(row, "\(name).kv_a_proj_with_mqa")
            let latent = norm(Array(shared[..<model.rank]), "\(name).kv_a_layernorm", 1e-6)
            let expanded = product(latent, "\(name).kv_b_proj")
            let rotary = turned(shared[model.rank...])
            q.append(
                (0..<model.heads).map {
                    query[$0 * width..<$0 * width + model.nope]
                        + turned(query[$0 * width + model.nope..<($0 + 1) * width])
                })
            k.append((0..<model.heads).map { expanded[$0 * size..<$0 * size + model.nope] + rotary })
            v.append((0..<model.heads).map { Array(expanded[$0 * size + model.nope..<($0 + 1) * size]) })
        }
        let sharpness = model.yarn.map { 0.1 * $0.mscaleAll * log($0.factor) + 1 } ?? 1
        return x.indices.map { position in
            (0..<model.heads).flatMap { head in
                attend(
                    q[position][head], (0...position).map { k[$0][head] }, (0...position).map { v[$0][head] },
                    scale: sharpness * sharpness / Double(width).squareRoot())
            }
        }
    }

    private func attend(_ q: [Double], _ keys: [[Double]], _ values: [[Double]], scale: Double) -> [Double] {
        let scores = keys.map { key in scale * zip(q, key).reduce(0) { $0 + $1.0 * $1.1 } }
        let largest = scores.max() ?? 0
        let shares = scores.map { exp($0 - largest) }
        let total = shares.reduce(0, +)
        return values[0].indices.map { column in
            zip(shares, values).reduce(0) { $0 + $1.0 * $1.1[column] } / total
        }
    }

    /// Experts and their weights.
    private func route(_ x: [Double], _ name: String) -> [(Int, Double)] {
        let logits = product(x, "\(name).gate")
        let isSigmoid = model.family == .deepSeekV3
        let total = logits.reduce(0) { $0 + exp($1) }
        let scores = logits.map { isSigmoid ? sigmoid($0) : exp($0) / total }
        let bias = weights["\(name).gate.e_score_correction_bias"]
        var keys = bias.map { zip(scores, $0).map { $0 + $1 } } ?? scores
        if model.method != "greedy" {
            let size = model.experts / model.groups
            let groups = (0..<model.groups).map { group -> Double in
                let best = keys[group * size..<(group + 1) * size].sorted(by: >)
                return bias == nil ? best[0] : best.prefix(2).reduce(0, +)
            }
            let kept = groups.indices.sorted { groups[$0] > groups[$1] }.prefix(model.keptGroups)
            for expert in keys.indices where !kept.contains(expert / size) { keys[expert] = -.infinity }
        }
        let chosen = keys.indices.sorted { keys[$0] > keys[$1] }.prefix(model.topK)
        let sum = model.renormalizes ? chosen.reduce(0) { $0 + scores[$1] } : 1
        return chosen.map { ($0, scores[$0] / sum * model.scale) }
    }

    private func mlp(_ x: [Double], _ name: String) -> [Double] {
        let names = weights["\(name).w1.weight"] == nil ? ["gate_proj", "up_proj", "down_proj"] : ["w1", "w3", "w2"]
        let gate = product(x, "\(name).\(names[0])").map { $0 * sigmoid($0) }
        return product(zip(gate, product(x, "\(name).\(names[1])")).map { $0 * $1 }, "\(name).\(names[2])")
    }

    private func turn(_ x: [Double], position: Int, isInterleaved: Bool) -> [Double] {
        var result = x
        let half = x.count / 2
        for pair in 0..<half {
            let (low, high) = isInterleaved ? (2 * pair, 2 * pair + 1) : (pair, pair + half)
            var frequency = pow(model.ropeBase, -2 * Double(pair) / Double(x.count))
            var size = 1.0
            if let linear = model.linear { frequency /= linear }
            if let yarn = model.yarn {
                func corrected(_ turns: Double) -> Double {
                    Double(x.count) * log(Double(yarn.original) / (turns * 2 * .pi)) / (2 * log(model.ropeBase))
                }
                let (first, last) = (
                    max(corrected(32).rounded(.down), 0), min(corrected(1).rounded(.up), Double(x.count - 1))
                )
                let ramp = min(max((Double(pair) - first) / max(last - first, 0.001), 0), 1)
                frequency *= 1 - ramp + ramp / yarn.factor
                size = (0.1 * yarn.mscale * log(yarn.factor) + 1) / (0.1 * yarn.mscaleAll * log(yarn.factor) + 1)
            }
            let angle = Double(position) * frequency
            result[low] = size * (x[low] * cos(angle) - x[high] * sin(angle))
            result[high] = size * (x[high] * cos(angle) + x[low] * sin(angle))
        }
        return result
    }

    private func norm(_ x: [Double], _ name: String, _ epsilon: Double) -> [Double] {
        let scale = 1 / (x.reduce(0) { $0 + $1 * $1 } / Double(x.count) + epsilon).squareRoot()
        return zip(x, weights["\(name).weight"]!).map { $0 * scale * $1 }
    }

    /// `x Wᵀ`, plus the bias where there is one.
    private func product(_ x: [Double], _ name: String) -> [Double] {
        let weight = weights["\(name).weight"]!
        var y = (0..<weight.count / x.count).map { row in
            x.indices.reduce(0) { $0 + x[$1] * weight[row * x.count + $1] }
        }
        if let bias = weights["\(name).bias"] { y = sum(y, bias) }
        return y
    }

    private func sum(_ x: [Double], _ y: [Double]) -> [Double] { zip(x, y).map { $0 + $1 } }
    private func sigmoid(_ x: Double) -> Double { 1 / (1 + exp(-x)) }
}
