// ModelConfiguration+Read: from config.json's keys, under all their spellings, to checked numbers.

public import Compute
internal import Experts

extension ModelConfiguration {
    /// Reads `config.json`, and the end-of-sequence ids of `generation_config.json` if there is one.
    ///
    /// - Throws: `ModelFileError` naming the file and the key.
    public init(_ files: ModelFiles) throws(ModelFileError) {
        let keys = ConfigurationKeys(file: files.location(of: "config.json"))
        guard let raw = try RawConfiguration.read(RawConfiguration.self, "config.json", files) else {
            throw ModelFileError(file: keys.file, found: "no such file", expected: "a Hugging Face config.json")
        }
        let generation = try RawConfiguration.read(
            RawGenerationConfiguration.self, "generation_config.json", files)
        guard let architecture = raw.architectures?.first else {
            throw keys.refused("architectures", "nothing", "a list with the architecture's name")
        }
        self.architecture = architecture
        let unsaid = try ModelRegistry.model(architecture, file: keys.file).conventions
        modelType = raw.modelType ?? ""
        vocabularySize = try keys.whole(raw.vocabSize, "vocab_size")
        hiddenSize = try keys.whole(raw.hiddenSize, "hidden_size", 1...1 << 17)
        layers = try keys.whole(raw.numHiddenLayers, "num_hidden_layers", 1...1024)

        // Attention.
        heads = try keys.whole(raw.numAttentionHeads, "num_attention_heads", 1...4096)
        latent = unsaid.isLatent ? try LatentShape(raw, keys) : nil
        if let latent {
            kvHeads = heads
            headDimension = latent.nope + latent.rotary
        } else {
            kvHeads = try keys.whole(raw.numKeyValueHeads ?? raw.numAttentionHeads, "num_key_value_heads", 1...4096)
            guard heads.isMultiple(of: kvHeads) else {
                throw keys.refused("num_key_value_heads", "\(kvHeads)", "a divisor of num_attention_heads, \(heads)")
            }
            guard raw.headDim != nil || hiddenSize.isMultiple(of: heads) else {
                throw keys.refused(
                    "hidden_size", "\(hiddenSize)", "a multiple of num_attention_heads, \(heads), or a head_dim")
            }
            headDimension = try keys.whole(raw.headDim ?? Double(hiddenSize / heads), "head_dim", 2...4096)
            guard headDimension.isMultiple(of: 2) else {
                throw keys.refused("head_dim", "\(headDimension)", "an even number")
            }
        }
        hasAttentionBias = raw.qkvBias ?? raw.attentionBias ?? unsaid.attentionBias
        attentionLimit =
            if let limit = raw.clipQkv { try keys.number(limit, "clip_qkv", 0...1e30, "from 0 to 1e30") } else { nil }
        try Self.refuseWindow(raw, unsaid, keys)

        // Experts.
        experts = try keys.whole(
            raw.numExperts ?? raw.numLocalExperts ?? raw.nRoutedExperts ?? 0, "num_experts", 0...8192)
        sparseLayers = try Self.sparseLayers(raw, layers: layers, experts: experts, keys)
        topK = experts == 0 ? 0 : try keys.whole(raw.numExpertsPerTok, "num_experts_per_tok", 1...experts)
        let expertKey = unsaid.expertsAreIntermediate ? "intermediate_size" : "moe_intermediate_size"
        let expertSize = unsaid.expertsAreIntermediate ? raw.intermediateSize : raw.moeIntermediateSize
        self.expertSize = experts == 0 ? 0 : try keys.whole(expertSize, expertKey, 1...1 << 20)
        if let count = raw.nSharedExperts {
            sharedExpertSize = self.expertSize * (try keys.whole(count, "n_shared_experts", 0...1024))
        } else {
            sharedExpertSize = try keys.whole(
                raw.sharedExpertIntermediateSize ?? 0, "shared_expert_intermediate_size", 0...1 << 20)
        }
        let hasDenseLayers = sparseLayers.count < layers
        intermediateSize = try keys.whole(
            raw.intermediateSize ?? (hasDenseLayers ? nil : 0), "intermediate_size", (hasDenseLayers ? 1 : 0)...1 << 20)
        (gate, hasCorrectionBias) = try Self.gate(raw, unsaid, experts: experts, keys)

        // Positions.
        normEpsilon = try keys.number(raw.rmsNormEps ?? unsaid.normEpsilon, "rms_norm_eps", 0...1, "from 0 to 1")
        ropeBase = try keys.number(
            raw.ropeTheta ?? raw.ropeParameters?.ropeTheta ?? unsaid.ropeBase, "rope_theta", 1...1e30, "from 1 to 1e30")
        maxPositions = try keys.whole(raw.maxPositionEmbeddings, "max_position_embeddings", 1...1 << 24)
        let stretch = try Self.yarn(raw, maxPositions: maxPositions, keys)
        yarn = stretch?.yarn
        scoreFactor = latent == nil ? 1 : stretch?.scoreFactor ?? 1

        // Weights.
        tiesEmbeddings = raw.tieWordEmbeddings ?? false
        scaleBlocks = try Self.scaleBlocks(raw, keys)
        dtype = [DType.float16, .float32].first { "\($0)" == raw.torchDtype ?? raw.dtype } ?? .bfloat16
        if let activation = raw.hiddenAct, activation != "silu" {
            throw keys.refused("hidden_act", activation, "silu")
        }
        // Ids that no token has could end nothing, and would be out of place in a row of logits.
        var ends: [Int32] = []
        for id in (raw.eosTokenId?.ids ?? []) + (generation?.eosTokenId?.ids ?? []) {
            guard let id = Int32(exactly: id), (0..<Int32(vocabularySize)).contains(id), !ends.contains(id) else {
                continue
            }
            ends.append(id)
        }
        endOfSequenceIDs = ends
    }

    /// Qwen's rule and DeepSeek's at once: each leaves the other's keys out, which then exclude no layer.
    private static func sparseLayers(
        _ raw: RawConfiguration, layers: Int, experts: Int, _ keys: ConfigurationKeys
    ) throws(ModelFileError) -> [Int] {
        let step = try keys.whole(raw.decoderSparseStep ?? 1, "decoder_sparse_step", 1...1 << 20)
        let first = try keys.whole(raw.firstKDenseReplace ?? 0, "first_k_dense_replace", 0...1 << 20)
        let frequency = try keys.whole(raw.moeLayerFreq ?? 1, "moe_layer_freq", 1...1 << 20)
        let denseLayers = Set(raw.mlpOnlyLayers ?? [])
        return (0..<layers).filter {
            experts > 0 && !denseLayers.contains(Double($0)) && ($0 + 1).isMultiple(of: step) && $0 >= first
                && $0.isMultiple(of: frequency)
        }
    }

    private static func gate(
        _ raw: RawConfiguration, _ unsaid: Conventions, experts: Int, _ keys: ConfigurationKeys
    ) throws(ModelFileError) -> (GateRule, hasCorrectionBias: Bool) {
        let scoring: GateRule.Scoring
        switch raw.scoringFunc {
        case nil: scoring = unsaid.scoring
        case "softmax": scoring = .softmax
        case "sigmoid": scoring = .sigmoid
        case let other?: throw keys.refused("scoring_func", other, "softmax or sigmoid")
        }
        let method = raw.topkMethod ?? unsaid.selection
        guard ["greedy", "group_limited_greedy", "noaux_tc"].contains(method) else {
            throw keys.refused("topk_method", method, "greedy, group_limited_greedy or noaux_tc")
        }
        var groups: GateRule.Groups?
        if method != "greedy", experts > 0 {
            let count = try keys.whole(raw.nGroup ?? 1, "n_group", 1...experts)
            guard experts.isMultiple(of: count) else {
                throw keys.refused("n_group", "\(count)", "a divisor of the \(experts) experts")
            }
            groups = GateRule.Groups(
                count: count, kept: try keys.whole(raw.topkGroup ?? Double(count), "topk_group", 1...count))
        }
        let scale = try keys.number(raw.routedScalingFactor ?? 1, "routed_scaling_factor", 0...1e6, "from 0 to 1e6")
        let rule = GateRule(
            scoring: scoring, renormalize: raw.normTopkProb ?? unsaid.renormalizes, groups: groups, scale: scale)
        return (rule, method == "noaux_tc")
    }

    private static func refuseWindow(
        _ raw: RawConfiguration, _ unsaid: Conventions, _ keys: ConfigurationKeys
    ) throws(ModelFileError) {
        if raw.useSlidingWindow == true {
            throw keys.refused("use_sliding_window", "true", "false: sliding windows are not supported")
        }
        // A window as wide as the longest sequence hides nothing.
        guard unsaid.windowAloneCounts, let window = raw.slidingWindow, window < raw.maxPositionEmbeddings ?? .infinity
        else { return }
        throw keys.refused("sliding_window", "\(window)", "null: sliding windows are not supported")
    }

    /// How positions are stretched, and by what attention's scores are multiplied for it where a model does so.
    private static func yarn(
        _ raw: RawConfiguration, maxPositions: Int, _ keys: ConfigurationKeys
    ) throws(ModelFileError) -> (yarn: YaRN, scoreFactor: Float)? {
        var result: (YaRN, Float)?
        for parameters in [
            raw.ropeScaling.map { ($0, "rope_scaling") }, raw.ropeParameters.map { ($0, "rope_parameters") },
        ] {
            guard let (rope, key) = parameters else { continue }
            // Without a type, older files mean linear scaling and newer ones none.
            let kind = rope.type ?? rope.ropeType ?? (rope.factor == nil ? "default" : "a factor")
            if kind == "default" { continue }
            guard kind == "yarn" else { throw keys.refused(key, kind, "yarn or none: no other scaling is supported") }
            func positive(_ value: Double, _ name: String) throws(ModelFileError) -> Float {
                try keys.number(value, "\(key).\(name)", 1e-6...1e6, "from 1e-6 to 1e6")
            }
            let original = try keys.whole(
                rope.originalMaxPositionEmbeddings ?? Double(maxPositions), "\(key).original_max_position_embeddings")
            var yarn = YaRN(
                factor: try positive(rope.factor ?? Double(maxPositions) / Double(original), "factor"),
                originalPositions: original)
            yarn.fastTurns = try positive(rope.betaFast ?? 32, "beta_fast")
            yarn.slowTurns = try positive(rope.betaSlow ?? 1, "beta_slow")
            let angles = yarn.size(try positive(max(rope.mscale ?? 1, 1e-6), "mscale"))
            let all = try keys.number(rope.mscaleAllDim ?? 0, "\(key).mscale_all_dim", 0...1e6, "from 0 to 1e6")
            let scores = yarn.size(all)
            yarn.angleFactor = rope.attentionFactor.map(Float.init) ?? angles / scores
            result = (yarn, scores * scores)
        }
        return result
    }

    private static func scaleBlocks(
        _ raw: RawConfiguration, _ keys: ConfigurationKeys
    ) throws(ModelFileError) -> ScaleBlocks {
        guard let quantization = raw.quantizationConfig else { return ScaleBlocks() }
        let method = quantization.quantMethod ?? "nothing"
        guard method == "fp8", quantization.fmt ?? "e4m3" == "e4m3" else {
            throw keys.refused(
                "quantization_config", "\(method) \(quantization.fmt ?? "")", "fp8 e4m3 with scales per block")
        }
        let sizes = quantization.weightBlockSize ?? [128, 128]
        guard sizes.count == 2 else {
            throw keys.refused("quantization_config.weight_block_size", "\(sizes)", "[rows, columns]")
        }
        return ScaleBlocks(
            rows: try keys.whole(sizes[0], "quantization_config.weight_block_size[0]"),
            columns: try keys.whole(sizes[1], "quantization_config.weight_block_size[1]"))
    }
}

extension LatentShape {
    fileprivate init(_ raw: RawConfiguration, _ keys: ConfigurationKeys) throws(ModelFileError) {
        queryRank = if let rank = raw.qLoraRank { try keys.whole(rank, "q_lora_rank", 1...1 << 17) } else { nil }
        rank = try keys.whole(raw.kvLoraRank, "kv_lora_rank", 1...1 << 17)
        nope = try keys.whole(raw.qkNopeHeadDim, "qk_nope_head_dim", 1...4096)
        rotary = try keys.whole(raw.qkRopeHeadDim, "qk_rope_head_dim", 2...4096)
        value = try keys.whole(raw.vHeadDim, "v_head_dim", 1...4096)
        guard rotary.isMultiple(of: 2) else { throw keys.refused("qk_rope_head_dim", "\(rotary)", "an even number") }
        isInterleaved = raw.ropeInterleave ?? true
    }
}
