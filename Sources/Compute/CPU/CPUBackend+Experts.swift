// CPUBackend+Experts: the experts of a layer, routed and shared.
//
// A routed expert has few rows, so it waits for its weights; the shared one has all, so it computes. Both run as one op: while
// one thread computes, the other has the memory for itself, and threads meet half as often. Activations are rounded where they
// are made if the down projection multiplies bfloat16, and then fill half of their buffer.
//
// Documented in Backend.
// swift-format-ignore-file: AllPublicDeclarationsHaveDocumentation

internal import CPUKernels

extension CPUBackend {
    public func experts(
        _ x: Buffer, routing: Routing, gateUp: Matrix, down: Matrix, activations: Buffer, out: Buffer,
        shared: SharedMLP?
    ) {
        let (count, pairs) = (routing.count, routing.count * routing.topK)
        precondition(
            gateUp.isGated && x.width == gateUp.inputs && activations.width == gateUp.outputs
                && down.inputs == gateUp.outputs && out.width == down.outputs
                && pairs <= min(activations.rows, out.rows), "shapes of experts")
        let hidden = input(x, count: count, for: gateUp)
        var arguments = cpu_expert_args(
            sorted: routing.sortedPairs, experts: routing.blockExperts, x: hidden.start,
            weight: gateUp.storage.bytes.baseAddress, scale: nil, y: activations.floats, pairs: pairs,
            top_k: routing.topK, block_size: Routing.blockSize, inputs: gateUp.inputs, outputs: gateUp.outputs,
            expert_stride: gateUp.stride, x_stride: hidden.stride, type: gateUp.kernelType, narrows: down.isRounded)
        let perBlock = pairs / max(1, routing.blockCount) + 1
        let panels = routing.blockCount * Self.panels(gateUp.outputs, gated: true)
        if let shared {
            shared.check(x, count: count)
            let own =
                shared.gateUp.isRounded == gateUp.isRounded ? hidden : input(x, count: count, for: shared.gateUp)
            run(
                kernels.expert_gate_up, arguments, items: panels, beside: kernels.gated,
                gatedArguments(
                    own, count: count, weight: shared.gateUp, out: shared.activations, narrows: shared.down.isRounded),
                items: Self.panels(shared.gateUp.outputs, gated: true), work: perBlock * gateUp.inputs * Int(CPU_PANEL))
        } else {
            run(
                kernels.expert_gate_up, arguments, items: panels, work: perBlock * gateUp.inputs * Int(CPU_PANEL))
        }

        let inner = written(activations, for: down)
        arguments.x = inner.start
        arguments.x_stride = inner.stride
        arguments.weight = UnsafeRawPointer(down.storage.bytes.baseAddress)
        arguments.scale = routing.weights.baseAddress
        arguments.y = out.floats
        arguments.inputs = down.inputs
        arguments.outputs = down.outputs
        arguments.expert_stride = down.stride
        arguments.type = down.kernelType
        let downPanels = routing.blockCount * Self.panels(down.outputs)
        if let shared {
            run(
                kernels.expert_down, arguments, items: downPanels, beside: kernels.linear,
                linearArguments(
                    written(shared.activations, for: shared.down), count: count, weight: shared.down, bias: nil,
                    out: shared.out, accumulate: false),
                items: Self.panels(shared.down.outputs), work: perBlock * down.inputs * Int(CPU_PANEL))
        } else {
            run(kernels.expert_down, arguments, items: downPanels, work: perBlock * down.inputs * Int(CPU_PANEL))
        }
    }
}

extension SharedMLP {
    fileprivate func check(_ x: Buffer, count: Int) {
        precondition(
            gateUp.isGated && x.width == gateUp.inputs && activations.width == gateUp.outputs
                && down.inputs == gateUp.outputs && out.width == down.outputs
                && count <= min(activations.rows, out.rows), "shapes of a shared MLP")
    }
}
