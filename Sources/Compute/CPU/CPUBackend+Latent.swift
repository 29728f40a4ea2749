// CPUBackend+Latent: multi-head latent attention, over latents and over what they expand to.
//
// Documented in Backend.
// swift-format-ignore-file: AllPublicDeclarationsHaveDocumentation

internal import CPUKernels

extension CPUBackend {
    public func storeLatent(
        _ latent: Buffer, keyRotary: Buffer, query: Buffer, absorbed: Buffer, tokens: TokenLayout, cache: KVCache,
        layer: Int, angles: RotaryTable
    ) {
        let (rank, rotary) = (latent.width, keyRotary.width)
        let heads = absorbed.width / (rank + rotary)
        let nope = query.width / heads - rotary
        precondition(
            cache.shape.heads == 1 && cache.shape.headDimension == rank + rotary && !cache.shape.hasValues && nope >= 0
                && query.width == heads * (nope + rotary) && absorbed.width == heads * (rank + rotary)
                && angles.cosines.width == rotary / 2, "shapes of storeLatent")
        run(
            kernels.latent_store,
            cpu_latent_store_args(
                cache: cache.kernelCache(tokens, layer: layer), latent: latent.floats, key_rotary: keyRotary.floats,
                query: query.floats, absorbed: absorbed.floats, cosines: angles.cosines.floats,
                sines: angles.sines.floats, heads: heads, rank: rank, nope: nope, rotary: rotary,
                absorbed_tokens: tokens.promptStart),
            items: tokens.count, work: 64 * (rank + (heads + 1) * rotary))
    }

    public func attendLatent(
        _ query: Buffer, tokens: TokenLayout, cache: KVCache, layer: Int, heads: Int, scale: Float, out: Buffer
    ) {
        let (rank, count) = (out.width / heads, tokens.promptStart)
        precondition(
            !cache.shape.hasValues && query.width == heads * cache.shape.headDimension && out.width == heads * rank
                && rank <= cache.shape.headDimension && count <= min(query.rows, out.rows), "shapes of attendLatent")
        guard count > 0 else { return }
        let context = Int(tokens.positions[count - 1]) + 1
        // Few tokens are divided among the threads, many share what they read of the cache.
        let isLarge = count >= 4 * Int(CPU_LATENT_TOKENS) * device.threads
        let (itemTokens, itemHeads) = isLarge ? (Int(CPU_LATENT_TOKENS), Int(CPU_LATENT_HEADS)) : (1, 4)
        func parts(_ count: Int, _ size: Int) -> Int { (count + size - 1) / size }
        run(
            kernels.latent_attention,
            cpu_latent_args(
                cache: cache.kernelCache(tokens, layer: layer), query: query.floats, out: out.floats, tokens: count,
                heads: heads, rank: rank, item_tokens: itemTokens, item_heads: itemHeads, scale: scale),
            items: parts(count, itemTokens) * parts(heads, itemHeads),
            work: 2 * itemTokens * itemHeads * context * cache.shape.headDimension)
    }

    public func attendExpanded(
        _ query: Buffer, tokens: TokenLayout, cache: KVCache, layer: Int, keys: Matrix, values: Matrix, scale: Float,
        block: LatentBlock, out: Buffer
    ) {
        let heads = keys.count
        precondition(
            !cache.shape.hasValues && values.count == heads && block.rows.width == keys.outputs
                && keys.outputs == values.inputs && query.width * Int(CPU_BLOCK) == block.keys.width
                && out.width == heads * values.outputs && out.width * Int(CPU_BLOCK) == block.values.width
                && block.softmax.width == 2 * heads
                && tokens.count <= min(query.rows, out.rows, block.softmax.rows), "shapes of attendExpanded")
        precondition(
            keys.precision == .stored && values.precision == .stored
                && query.width / heads - keys.inputs == cache.shape.headDimension - keys.outputs,
            "weights of attendExpanded")
        var start = tokens.promptStart
        while start < tokens.count {
            // Tokens that follow one another in a sequence.
            var end = start + 1
            while end < tokens.count, tokens.sequences[end] == tokens.sequences[start],
                tokens.positions[end] == tokens.positions[end - 1] + 1
            { end += 1 }
            attendExpanded(
                start..<end, query, tokens, cache.keys[layer], cache.shape, keys, values, scale, block, out)
            start = end
        }
    }

    /// Attention of the tokens `run`, block by block of their sequence.
    private func attendExpanded(
        _ run: Range<Int>, _ query: Buffer, _ tokens: TokenLayout, _ latents: Buffer, _ shape: CacheShape,
        _ keys: Matrix,
        _ values: Matrix, _ scale: Float, _ block: LatentBlock, _ out: Buffer
    ) {
        let (heads, rank, nope, value, size) = (keys.count, keys.outputs, keys.inputs, values.outputs, Int(CPU_BLOCK))
        let width = shape.headDimension
        let (position, panels) = (Int(tokens.positions[run.lowerBound]), Self.panels(nope) + Self.panels(value))
        let table = tokens.pageTables + Int(tokens.sequences[run.lowerBound]) * tokens.tableStride
        for first in stride(from: 0, to: position + run.count, by: size) {
            let count = min(size, position + run.count - first)
            let pages = table + first / KVCache.pageSize
            self.run(
                kernels.latent_rows,
                cpu_latent_rows_args(
                    latents: latents.floats, pages: pages, rows: block.rows.floats, rank: rank, width: width,
                    type: shape.type.kernelType),
                items: (count + KVCache.pageSize - 1) / KVCache.pageSize, work: KVCache.pageSize * rank)
            self.run(
                kernels.latent_expand,
                cpu_latent_expand_args(
                    latents: latents.floats, pages: pages, rows: block.rows.floats,
                    key_weight: keys.storage.bytes.baseAddress, value_weight: values.storage.bytes.baseAddress,
                    keys: block.keys.floats, values: block.values.floats, count: count, rank: rank, nope: nope,
                    rotary: width - rank, value: value, key_head_stride: keys.stride, value_head_stride: values.stride,
                    key_type: keys.kernelType, value_type: values.kernelType,
                    type: shape.type.kernelType),
                items: heads * panels, work: count * rank * Int(CPU_PANEL))
            // Tokens before the block see nothing of it.
            let token = run.lowerBound + max(0, first - position)
            self.run(
                kernels.expanded_attention,
                cpu_expanded_args(
                    keys: block.keys.floats, values: block.values.floats, query: query.floats + token * query.width,
                    out: out.floats + token * out.width, softmax: block.softmax.floats + token * 2 * heads,
                    tokens: run.upperBound - token, heads: heads, key: query.width / heads, value: value,
                    position: position + token - run.lowerBound, first: first, scale: scale),
                items: heads * (run.upperBound - token), work: count * (query.width / heads + value))
        }
    }
}
