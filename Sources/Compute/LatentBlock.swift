// LatentBlock: the memory in which latents are expanded to keys and values, a block of positions at a time.

internal import CPUKernels

/// One block of expanded keys and values, overwritten by the next; and what attention remembers from block to block.
public struct LatentBlock: Sendable {
    /// Latents, `[block, rank]`.
    let rows: Buffer
    /// `[heads, pages of a block, nope + rotary, 16]`.
    let keys: Buffer
    /// `[heads, block, value]`.
    let values: Buffer
    /// `[N, heads, 2]`: largest score and sum of weights.
    let softmax: Buffer

    /// Memory for passes of `tokens` tokens, keys of `key` floats and values of `value`.
    public init(tokens: Int, heads: Int, rank: Int, key: Int, value: Int) {
        let isEmpty = heads * rank == 0
        rows = Buffer(rows: isEmpty ? 0 : Int(CPU_BLOCK), width: rank)
        keys = Buffer(rows: 1, width: Int(CPU_BLOCK) * heads * key)
        values = Buffer(rows: 1, width: Int(CPU_BLOCK) * heads * value)
        softmax = Buffer(rows: tokens, width: 2 * heads)
    }

    /// Floats that a block takes whatever the size of a pass.
    public static func floats(heads: Int, rank: Int, key: Int, value: Int) -> Int {
        Int(CPU_BLOCK) * (rank + heads * (key + value))
    }
}
