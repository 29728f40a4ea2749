// ModelConfiguration+Read: from config.json's keys, under all their spellings, to checked numbers.

public import Compute
internal import Experts

extension ModelConfiguration {
    /// Reads `config.json`, and the end-of-sequence ids of `generation_config.json` if there is one.
    ///
    /// - Throws: `ModelFileError` naming the file and the first key that is wrong.
    public init(_ files: ModelFiles) throws(ModelFileError) {
        let (configuration, problems) = Self.read(files)
        if let problem = problems.first { throw problem }
        guard let configuration else { preconditionFailure("no configuration without a reason") }
        self = configuration
    }

    /// Reads them, and everything that is wrong with them.
    ///
    /// - Returns: the numbers, with others in place of bad ones; nil when the shapes of the weights are not known.
    public static func read(_ files: ModelFiles) -> (configuration: ModelConfiguration?, problems: [ModelFileError]) {
        let file = files.location(of: "config.json")
        var problems: [ModelFileError] = []
        func values(_ name: String) -> [String: ConfigurationValue]? {
            do {
                return try ConfigurationValue.read(name, files)
            } catch {
                problems.append(error)
                return nil
            }
        }
        let found = values("config.json")
        if found == nil, problems.isEmpty {
            problems.append(
                ModelFileError(file: file, found: "no such file", expected: "a Hugging Face config.json"))
        }
        let generation = ConfigurationKeys(
            values("generation_config.json") ?? [:], file: files.location(of: "generation_config.json"))
        let ends = generation.tokenIDs("eos_token_id")
        problems += generation.notes.problems
        guard let found else { return (nil, problems) }
        let keys = ConfigurationKeys(found, file: file)
        var model: (name: String, conventions: Conventions)?
        let names = keys.strings("architectures")
        if let name = names?.first {
            do {
                model = (name, try ModelRegistry.model(name, file: file).conventions)
            } catch {
                problems.append(error)
            }
        } else if keys.notes.problems.isEmpty {
            keys.refuse("architectures", "nothing", "a list with the architecture's name")
        }
        // Without an architecture most keys are checked all the same.
        let configuration = ModelConfiguration(model?.name ?? "", model?.conventions ?? Conventions(), keys, ends)
        problems = keys.notes.problems + problems
        return (model != nil && keys.notes.knowsSizes ? configuration : nil, problems)
    }

    private init(_ architecture: String, _ unsaid: Conventions, _ keys: ConfigurationKeys, _ ends: [Double]) {
        let sizes = keys.sizes
        self.architecture = architecture
        modelType = keys.string("model_type") ?? ""
        vocabularySize = sizes.whole("vocab_size")
        hiddenSize = sizes.whole("hidden_size", 1...1 << 17)
        layers = sizes.whole("num_hidden_layers", 1...1024)

        // Attention.
        heads = sizes.whole("num_attention_heads", 1...4096)
        latent = unsaid.isLatent ? LatentShape(sizes) : nil
        if let latent {
            kvHeads = heads
            headDimension = latent.nope + latent.rotary
            if heads * max(headDimension, latent.value) > 1 << 20, sizes.isGood("num_attention_heads") {
                sizes.refuse("num_attention_heads", "\(heads)", "heads of no more than 2^20 numbers together")
            }
        } else {
            (kvHeads, headDimension) = Self.plainHeads(sizes, hiddenSize: hiddenSize, heads: heads)
        }
        hasAttentionBias = sizes.flag("qkv_bias") ?? sizes.flag("attention_bias") ?? unsaid.attentionBias
        attentionLimit = keys.number("clip_qkv").map {
            keys.number("clip_qkv", 0...1e30, "from 0 to 1e30", missing: $0)
        }
        let positions = keys.whole("max_position_embeddings")
        Self.refuseWindow(keys, unsaid, maxPositions: positions)

        // Experts.
        let expertsKey = keys.present("num_experts", "num_local_experts", "n_routed_experts")
        let counted = sizes.whole(expertsKey, 0...8192, missing: 0)
        // So many that the other keys are checked.
        experts = sizes.isGood(expertsKey) ? counted : 8192
        sparseLayers = Self.sparseLayers(sizes, layers: layers, experts: experts)
        topK = experts == 0 ? 0 : keys.whole("num_experts_per_tok", 1...experts)
        expertSize =
            experts == 0
            ? 0
            : sizes.whole(unsaid.expertsAreIntermediate ? "intermediate_size" : "moe_intermediate_size", 1...1 << 20)
        if sizes.number("n_shared_experts") != nil {
            sharedExpertSize = expertSize * sizes.whole("n_shared_experts", 0...1024)
        } else {
            sharedExpertSize = sizes.whole("shared_expert_intermediate_size", 0...1 << 20, missing: 0)
        }
        let hasDenseLayers = sparseLayers.count < layers && sizes.isGood(expertsKey)
        intermediateSize = sizes.whole(
            "intermediate_size", (hasDenseLayers ? 1 : 0)...1 << 20, missing: hasDenseLayers ? nil : 0)
        (gate, hasCorrectionBias) = Self.gate(keys, unsaid, experts: experts, expertsKey)

        // Positions.
        normEpsilon = keys.number("rms_norm_eps", 0...1, "from 0 to 1", missing: unsaid.normEpsilon)
        let parameters = keys.object("rope_parameters")
        let base = keys.number("rope_theta") == nil ? parameters ?? keys : keys
        ropeBase = base.number("rope_theta", 1...1e30, "from 1 to 1e30", missing: unsaid.ropeBase)
        let rotary = RotaryReading(keys, parameters, maxPositions: positions)
        rotaryScaling = rotary.scaling
        maxPositions = rotary.plainPositions ?? positions
        isScaledDynamically = rotary.plainPositions != nil
        scoreFactor = latent == nil ? 1 : rotary.scoreFactor

        // Weights.
        tiesEmbeddings = sizes.flag("tie_word_embeddings") ?? false
        scaleBlocks = Self.scaleBlocks(sizes)
        let type = keys.string("torch_dtype") ?? keys.string("dtype")
        dtype = [DType.float16, .float32].first { "\($0)" == type } ?? .bfloat16
        if let activation = keys.string("hidden_act"), activation != "silu" {
            keys.refuse("hidden_act", activation, "silu")
        }
        // Ids that no token has could end nothing, and would be out of place in a row of logits.
        var ids: [Int32] = []
        for id in keys.tokenIDs("eos_token_id") + ends {
            guard let id = Int32(exactly: id), (0..<Int32(vocabularySize)).contains(id), !ids.contains(id) else {
                continue
            }
            ids.append(id)
        }
        endOfSequenceIDs = ids
    }

    /// Key-value heads and the width of a head, where they have keys and values of their own.
    private static func plainHeads(_ keys: ConfigurationKeys, hiddenSize: Int, heads: Int) -> (Int, Int) {
        let kvHeads = keys.whole("num_key_value_heads", 1...4096, missing: heads)
        if keys.isGood("num_attention_heads", "num_key_value_heads"), !heads.isMultiple(of: kvHeads) {
            keys.refuse("num_key_value_heads", "\(kvHeads)", "a divisor of num_attention_heads, \(heads)")
        }
        guard keys.number("head_dim") != nil || hiddenSize.isMultiple(of: heads) else {
            if keys.isGood("hidden_size", "num_attention_heads") {
                keys.refuse(
                    "hidden_size", "\(hiddenSize)", "a multiple of num_attention_heads, \(heads), or a head_dim")
            }
            return (kvHeads, 2)
        }
        guard keys.number("head_dim") != nil || keys.isGood("hidden_size", "num_attention_heads") else {
            return (kvHeads, 2)
        }
        let width = keys.whole("head_dim", 2...4096, missing: hiddenSize / heads)
        if !width.isMultiple(of: 2) { keys.refuse("head_dim", "\(width)", "an even number") }
        return (kvHeads, width)
    }

    /// Qwen's rule and DeepSeek's at once: each leaves the other's keys out, which then exclude no layer.
    private static func sparseLayers(_ keys: ConfigurationKeys, layers: Int, experts: Int) -> [Int] {
        let step = keys.whole("decoder_sparse_step", 1...1 << 20, missing: 1)
        let first = keys.whole("first_k_dense_replace", 0...1 << 20, missing: 0)
        let frequency = keys.whole("moe_layer_freq", 1...1 << 20, missing: 1)
        let denseLayers = Set(keys.numbers("mlp_only_layers") ?? [])
        return (0..<layers).filter {
            experts > 0 && !denseLayers.contains(Double($0)) && ($0 + 1).isMultiple(of: step) && $0 >= first
                && $0.isMultiple(of: frequency)
        }
    }

    private static func gate(
        _ keys: ConfigurationKeys, _ unsaid: Conventions, experts: Int, _ expertsKey: String
    ) -> (GateRule, hasCorrectionBias: Bool) {
        var scoring = unsaid.scoring
        switch keys.string("scoring_func") {
        case nil: break
        case "softmax": scoring = .softmax
        case "sigmoid": scoring = .sigmoid
        case let other?: keys.refuse("scoring_func", other, "softmax or sigmoid")
        }
        // One of the methods has a tensor of its own.
        var method = keys.sizes.string("topk_method") ?? unsaid.selection
        if !["greedy", "group_limited_greedy", "noaux_tc"].contains(method) {
            keys.sizes.refuse("topk_method", method, "greedy, group_limited_greedy or noaux_tc")
            method = unsaid.selection
        }
        var groups: GateRule.Groups?
        if method != "greedy", experts > 0 {
            var count = keys.whole("n_group", 1...experts, missing: 1)
            if !experts.isMultiple(of: count) {
                if keys.isGood(expertsKey) { keys.refuse("n_group", "\(count)", "a divisor of the \(experts) experts") }
                count = 1
            }
            let most = keys.isGood("n_group") ? count : experts
            groups = GateRule.Groups(count: count, kept: min(count, keys.whole("topk_group", 1...most, missing: count)))
        }
        let scale = keys.number("routed_scaling_factor", 0...1e6, "from 0 to 1e6", missing: 1)
        let rule = GateRule(
            scoring: scoring, renormalize: keys.flag("norm_topk_prob") ?? unsaid.renormalizes, groups: groups,
            scale: scale)
        return (rule, method == "noaux_tc")
    }

    private static func refuseWindow(_ keys: ConfigurationKeys, _ unsaid: Conventions, maxPositions: Int) {
        if keys.flag("use_sliding_window") == true {
            keys.refuse("use_sliding_window", "true", "false: sliding windows are not supported")
        }
        // A window as wide as the longest sequence hides nothing.
        guard unsaid.windowAloneCounts, let window = keys.number("sliding_window"),
            window < Double(maxPositions) || !keys.isGood("max_position_embeddings")
        else { return }
        keys.refuse("sliding_window", "\(window)", "null: sliding windows are not supported")
    }

    private static func scaleBlocks(_ keys: ConfigurationKeys) -> ScaleBlocks {
        guard let quantization = keys.object("quantization_config") else { return ScaleBlocks() }
        let (method, format) = (quantization.string("quant_method") ?? "nothing", quantization.string("fmt"))
        guard method == "fp8", format ?? "e4m3" == "e4m3" else {
            keys.refuse("quantization_config", "\(method) \(format ?? "")", "fp8 e4m3 with scales per block")
            return ScaleBlocks()
        }
        let sizes = quantization.numbers("weight_block_size") ?? [128, 128]
        guard sizes.count == 2, let rows = Int(exactly: sizes[0]), let columns = Int(exactly: sizes[1]),
            (1...1 << 24).contains(rows), (1...1 << 24).contains(columns)
        else {
            quantization.refuse("weight_block_size", "\(sizes)", "[rows, columns]")
            return ScaleBlocks()
        }
        return ScaleBlocks(rows: rows, columns: columns)
    }
}

extension LatentShape {
    fileprivate init(_ keys: ConfigurationKeys) {
        queryRank = keys.number("q_lora_rank") == nil ? nil : keys.whole("q_lora_rank", 1...1 << 17)
        rank = keys.whole("kv_lora_rank", 1...1 << 17)
        nope = keys.whole("qk_nope_head_dim", 1...4096)
        rotary = keys.whole("qk_rope_head_dim", 2...4096)
        value = keys.whole("v_head_dim", 1...4096)
        if !rotary.isMultiple(of: 2) { keys.refuse("qk_rope_head_dim", "\(rotary)", "an even number") }
        isInterleaved = keys.flag("rope_interleave") ?? true
    }
}
