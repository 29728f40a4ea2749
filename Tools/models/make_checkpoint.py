#!/usr/bin/env python3
"""Make model folders as they are published: names, shapes, dtypes, shards, configs, tokenizers; the weights are random.

    python3 make_checkpoint.py --list
    python3 make_checkpoint.py DeepSeek-V2-Lite --out models            # real shapes, few layers: some GB
    python3 make_checkpoint.py Qwen3-30B-A3B --out models --layers 8
    python3 make_checkpoint.py all --out models --tiny                  # a few MB each, all layer kinds

`--layers` and `--experts` reduce a model; every other number stays the published one. `--tiny` shrinks all widths, and
keeps what makes the model what it is: dense first layers, groups, query latents, 8-bit blocks, layers for further tokens.
The tokenizers are small, but of the published kind. Needs Python 3.11 and NumPy.
"""

import argparse
import json
import math
import pathlib
import struct
import sys
import time

import numpy

YARN = {"beta_fast": 32, "beta_slow": 1, "factor": 40, "original_max_position_embeddings": 4096, "type": "yarn"}


def qwen(architecture, kind, **keys):
    return {
        "architectures": [architecture], "attention_dropout": 0.0, "bos_token_id": 151643, "eos_token_id": 151643,
        "hidden_act": "silu", "initializer_range": 0.02, "model_type": kind, "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0, "tie_word_embeddings": False, "torch_dtype": "bfloat16", "use_cache": True,
        "use_sliding_window": False, "vocab_size": 151936, "decoder_sparse_step": 1, "output_router_logits": False,
        "router_aux_loss_coef": 0.001, **keys,
    }


def deepseek(version, **keys):
    names = [f"DeepseekV{version}Config", f"DeepseekV{version}Model", f"DeepseekV{version}ForCausalLM"]
    parts = ["AutoConfig", "AutoModel", "AutoModelForCausalLM"]
    files = [f"configuration_deepseek.{names[0]}"] + [f"modeling_deepseek.{name}" for name in names[1:]]
    return {
        "architectures": [names[2]], "attention_bias": False, "attention_dropout": 0.0,
        "auto_map": dict(zip(parts, files)), "hidden_act": "silu", "initializer_range": 0.02, "kv_lora_rank": 512,
        "max_position_embeddings": 163840, "model_type": f"deepseek_v{version}", "moe_layer_freq": 1,
        "pretraining_tp": 1, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "rms_norm_eps": 1e-06,
        "rope_theta": 10000, "seq_aux": True, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
        "use_cache": True, "v_head_dim": 128, **keys,
    }


QWEN15 = qwen(
    "Qwen2MoeForCausalLM", "qwen2_moe", hidden_size=2048, intermediate_size=5632, max_position_embeddings=8192,
    max_window_layers=21, num_attention_heads=16, num_hidden_layers=24, num_key_value_heads=16, sliding_window=32768,
    moe_intermediate_size=1408, shared_expert_intermediate_size=5632, num_experts_per_tok=4, num_experts=60,
    norm_topk_prob=False)
QWEN2 = qwen(
    "Qwen2MoeForCausalLM", "qwen2_moe", hidden_size=3584, intermediate_size=18944, max_position_embeddings=131072,
    max_window_layers=28, num_attention_heads=28, num_hidden_layers=28, num_key_value_heads=4, sliding_window=65536,
    moe_intermediate_size=2560, shared_expert_intermediate_size=20480, num_experts_per_tok=8, num_experts=64,
    norm_topk_prob=False)
QWEN3 = qwen(
    "Qwen3MoeForCausalLM", "qwen3_moe", attention_bias=False, head_dim=128, hidden_size=2048, intermediate_size=6144,
    eos_token_id=151645, max_position_embeddings=40960, max_window_layers=48, mlp_only_layers=[],
    moe_intermediate_size=768, norm_topk_prob=True, num_attention_heads=32, num_experts=128, num_experts_per_tok=8,
    num_hidden_layers=48, num_key_value_heads=4, rope_scaling=None, sliding_window=None)
LITE = deepseek(
    2, aux_loss_alpha=0.001, bos_token_id=100000, eos_token_id=100001, first_k_dense_replace=1, hidden_size=2048,
    intermediate_size=10944, moe_intermediate_size=1408, n_group=1, n_routed_experts=64, n_shared_experts=2,
    norm_topk_prob=False, num_attention_heads=16, num_experts_per_tok=6, num_hidden_layers=27, num_key_value_heads=16,
    q_lora_rank=None, rope_scaling={**YARN, "mscale": 0.707, "mscale_all_dim": 0.707}, routed_scaling_factor=1.0,
    scoring_func="softmax", topk_group=1, topk_method="greedy", vocab_size=102400)
V2 = deepseek(
    2, aux_loss_alpha=0.001, bos_token_id=100000, eos_token_id=100001, ep_size=1, first_k_dense_replace=1,
    hidden_size=5120, intermediate_size=12288, moe_intermediate_size=1536, n_group=8, n_routed_experts=160,
    n_shared_experts=2, norm_topk_prob=False, num_attention_heads=128, num_experts_per_tok=6, num_hidden_layers=60,
    num_key_value_heads=128, q_lora_rank=1536, rope_scaling={**YARN, "mscale": 0.707, "mscale_all_dim": 0.707},
    routed_scaling_factor=16.0, scoring_func="softmax", topk_group=3, topk_method="group_limited_greedy",
    vocab_size=102400)
V3 = deepseek(
    3, bos_token_id=0, eos_token_id=1, ep_size=1, first_k_dense_replace=3, hidden_size=7168, intermediate_size=18432,
    moe_intermediate_size=2048, n_group=8, n_routed_experts=256, n_shared_experts=1, norm_topk_prob=True,
    num_attention_heads=128, num_experts_per_tok=8, num_hidden_layers=61, num_key_value_heads=128,
    num_nextn_predict_layers=1, q_lora_rank=1536, rope_scaling={**YARN, "mscale": 1.0, "mscale_all_dim": 1.0},
    routed_scaling_factor=2.5, scoring_func="sigmoid", topk_group=4, topk_method="noaux_tc", vocab_size=129280,
    quantization_config={
        "activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8", "weight_block_size": [128, 128]})
MIXTRAL = {
    "architectures": ["MixtralForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 1, "eos_token_id": 2,
    "hidden_act": "silu", "hidden_size": 4096, "initializer_range": 0.02, "intermediate_size": 14336,
    "max_position_embeddings": 32768, "model_type": "mixtral", "num_attention_heads": 32, "num_experts_per_tok": 2,
    "num_hidden_layers": 32, "num_key_value_heads": 8, "num_local_experts": 8, "output_router_logits": False,
    "rms_norm_eps": 1e-05, "rope_theta": 1000000.0, "router_aux_loss_coef": 0.02, "sliding_window": None,
    "tie_word_embeddings": False, "torch_dtype": "bfloat16", "use_cache": True, "vocab_size": 32000,
}
OLMOE = {
    "architectures": ["OlmoeForCausalLM"], "attention_bias": False, "attention_dropout": 0.0, "clip_qkv": None,
    "eos_token_id": 50279, "hidden_act": "silu", "hidden_size": 2048, "initializer_range": 0.02,
    "intermediate_size": 1024, "max_position_embeddings": 4096, "model_type": "olmoe", "norm_topk_prob": False,
    "num_attention_heads": 16, "num_experts": 64, "num_experts_per_tok": 8, "num_hidden_layers": 16,
    "num_key_value_heads": 16, "output_router_logits": False, "pad_token_id": 1, "rms_norm_eps": 1e-05,
    "rope_scaling": None, "rope_theta": 10000.0, "router_aux_loss_coef": 0.01, "tie_word_embeddings": False,
    "torch_dtype": "bfloat16", "use_cache": True, "vocab_size": 50304,
}

QWEN_CHAT = {"bos_token_id": 151643, "do_sample": True, "eos_token_id": [151645, 151643], "pad_token_id": 151643,
             "repetition_penalty": 1.05, "temperature": 0.7, "top_k": 20, "top_p": 0.8}
QWEN_BASE = {"bos_token_id": 151643, "do_sample": False, "eos_token_id": 151643, "max_new_tokens": 2048}
DEEPSEEK_CHAT = {"_from_model_config": True, "bos_token_id": 100000, "do_sample": True, "eos_token_id": 100001,
                 "temperature": 0.3, "top_p": 0.95}

# Folder: config, generation_config, shards, tokenizer.
MODELS = {
    "Qwen1.5-MoE-A2.7B": (QWEN15, QWEN_BASE, 8, "qwen"),
    "Qwen1.5-MoE-A2.7B-Chat": (
        {**QWEN15, "eos_token_id": 151645, "max_position_embeddings": 32768}, QWEN_CHAT, 8, "qwen"),
    "Qwen2-57B-A14B": (QWEN2, QWEN_BASE, 24, "qwen"),
    "Qwen3-30B-A3B": (QWEN3, {**QWEN_CHAT, "temperature": 0.6, "top_p": 0.95}, 16, "qwen"),
    "DeepSeek-V2-Lite": (LITE, {**DEEPSEEK_CHAT, "temperature": 1.0, "do_sample": False}, 4, "deepseek-v2"),
    "DeepSeek-V2-Lite-Chat": (LITE, DEEPSEEK_CHAT, 4, "deepseek-v2"),
    "DeepSeek-V2": (V2, {**DEEPSEEK_CHAT, "temperature": 1.0}, 55, "deepseek-v2"),
    "DeepSeek-V3": (V3, {**DEEPSEEK_CHAT, "bos_token_id": 0, "eos_token_id": 1, "temperature": 0.6}, 163, "deepseek-v3"),
    "DeepSeek-R1": (V3, {**DEEPSEEK_CHAT, "bos_token_id": 0, "eos_token_id": 1, "temperature": 0.6}, 163, "deepseek-v3"),
    "Mixtral-8x7B-v0.1": (MIXTRAL, {"_from_model_config": True, "bos_token_id": 1, "eos_token_id": 2}, 19, "mixtral"),
    "OLMoE-1B-7B-0924": (OLMOE, {"_from_model_config": True, "eos_token_id": 50279, "pad_token_id": 1}, 3, "olmoe"),
}


def shrink(config):
    """All widths a few dozen, all kinds of layers and all numbers of groups kept."""
    config = json.loads(json.dumps(config))
    latent, mixtral_like = "kv_lora_rank" in config, config["model_type"] in ("mixtral", "olmoe")
    config.update(hidden_size=72, num_hidden_layers=3, num_attention_heads=4, vocab_size=600)
    config["intermediate_size"] = 40 if mixtral_like else 104
    config["num_key_value_heads"] = 4 if latent or config["num_key_value_heads"] == QWEN15["num_key_value_heads"] else 2
    if "head_dim" in config:
        config["head_dim"] = 20
    if "moe_intermediate_size" in config:
        config["moe_intermediate_size"] = 24
    if "shared_expert_intermediate_size" in config:
        config["shared_expert_intermediate_size"] = 56
    key = next(key for key in ("num_experts", "num_local_experts", "n_routed_experts") if key in config)
    config[key] = min(config[key], 3 * config.get("n_group", 1) if config.get("n_group", 1) > 1 else 12)
    config["num_experts_per_tok"] = min(config["num_experts_per_tok"], 6)
    if latent:
        config.update(kv_lora_rank=40, qk_nope_head_dim=18, qk_rope_head_dim=12, v_head_dim=14, first_k_dense_replace=1)
        config["q_lora_rank"] = config["q_lora_rank"] and 28
    if "quantization_config" in config:
        config["quantization_config"]["weight_block_size"] = [16, 16]
    return config


def tensors(config):
    """Names, shapes and dtypes of the weights, in the order of the published files."""
    hidden, vocabulary, heads = config["hidden_size"], config["vocab_size"], config["num_attention_heads"]
    kind = config["model_type"]
    quantized = "quantization_config" in config
    out = []

    def add(name, *shape, dtype="BF16"):
        out.append((name, shape, dtype))

    def matrix(name, rows, columns):
        if not quantized:
            return add(name + ".weight", rows, columns)
        block = config["quantization_config"]["weight_block_size"]
        add(name + ".weight", rows, columns, dtype="F8_E4M3")
        add(name + ".weight_scale_inv", -(-rows // block[0]), -(-columns // block[1]), dtype="F32")

    def mlp(name, inner, names=("gate_proj", "up_proj", "down_proj")):
        matrix(f"{name}.{names[0]}", inner, hidden)
        matrix(f"{name}.{names[1]}", inner, hidden)
        matrix(f"{name}.{names[2]}", hidden, inner)

    def latent_attention(name):
        rank, rotary = config["kv_lora_rank"], config["qk_rope_head_dim"]
        nope, value, query = config["qk_nope_head_dim"], config["v_head_dim"], config["q_lora_rank"]
        if query:
            matrix(f"{name}.q_a_proj", query, hidden)
            add(f"{name}.q_a_layernorm.weight", query)
            matrix(f"{name}.q_b_proj", heads * (nope + rotary), query)
        else:
            matrix(f"{name}.q_proj", heads * (nope + rotary), hidden)
        matrix(f"{name}.kv_a_proj_with_mqa", rank + rotary, hidden)
        add(f"{name}.kv_a_layernorm.weight", rank)
        matrix(f"{name}.kv_b_proj", heads * (nope + value), rank)
        matrix(f"{name}.o_proj", hidden, heads * value)

    def attention(name):
        width = config.get("head_dim") or hidden // heads
        for part, count in (("q", heads), ("k", config["num_key_value_heads"]), ("v", config["num_key_value_heads"])):
            matrix(f"{name}.{part}_proj", count * width, hidden)
            if kind == "qwen2_moe":
                add(f"{name}.{part}_proj.bias", count * width)
            if part != "v" and kind in ("qwen3_moe", "olmoe"):
                add(f"{name}.{part}_norm.weight", width if kind == "qwen3_moe" else count * width)
        matrix(f"{name}.o_proj", hidden, heads * width)

    def layer(index):
        name = f"model.layers.{index}"
        (latent_attention if "kv_lora_rank" in config else attention)(f"{name}.self_attn")
        add(f"{name}.input_layernorm.weight", hidden)
        add(f"{name}.post_attention_layernorm.weight", hidden)
        if index < config.get("first_k_dense_replace", 0):
            return mlp(f"{name}.mlp", config["intermediate_size"])
        if kind == "mixtral":
            add(f"{name}.block_sparse_moe.gate.weight", config["num_local_experts"], hidden)
            for expert in range(config["num_local_experts"]):
                mlp(f"{name}.block_sparse_moe.experts.{expert}", config["intermediate_size"], ("w1", "w3", "w2"))
            return None
        experts = config.get("num_experts") or config["n_routed_experts"]
        add(f"{name}.mlp.gate.weight", experts, hidden)
        if config.get("topk_method") == "noaux_tc":
            add(f"{name}.mlp.gate.e_score_correction_bias", experts, dtype="F32")
        for expert in range(experts):
            mlp(f"{name}.mlp.experts.{expert}", config.get("moe_intermediate_size") or config["intermediate_size"])
        if config.get("n_shared_experts"):
            mlp(f"{name}.mlp.shared_experts", config["n_shared_experts"] * config["moe_intermediate_size"])
        if "shared_expert_intermediate_size" in config:
            mlp(f"{name}.mlp.shared_expert", config["shared_expert_intermediate_size"])
            add(f"{name}.mlp.shared_expert_gate.weight", 1, hidden)
        return None

    add("model.embed_tokens.weight", vocabulary, hidden)
    for index in range(config["num_hidden_layers"]):
        layer(index)
    add("model.norm.weight", hidden)
    add("lm_head.weight", vocabulary, hidden)
    for index in range(config.get("num_nextn_predict_layers", 0)):
        # Layers that predict further tokens lie behind the others.
        name = f"model.layers.{config['num_hidden_layers'] + index}"
        layer(config["num_hidden_layers"] + index)
        add(f"{name}.embed_tokens.weight", vocabulary, hidden)
        add(f"{name}.enorm.weight", hidden)
        add(f"{name}.hnorm.weight", hidden)
        add(f"{name}.eh_proj.weight", hidden, 2 * hidden)
        add(f"{name}.shared_head.norm.weight", hidden)
        add(f"{name}.shared_head.head.weight", vocabulary, hidden)
    return out


SIZES = {"BF16": 2, "F8_E4M3": 1, "F32": 4}
POOL = 1 << 22  # numbers that are drawn once; tensors are cut from them at places of their own


class Noise:
    """Random bytes for tensors, fast enough for many gigabytes."""

    def __init__(self, seed):
        self.random = numpy.random.default_rng(seed)
        self.pools = {}

    def pool(self, key, make):
        if key not in self.pools:
            self.pools[key] = make(self.random.random(POOL, dtype=numpy.float32) * 2 - 1)
        return self.pools[key]

    def write(self, file, name, shape, dtype):
        count = math.prod(shape)
        if dtype == "F8_E4M3":
            # Codes of both signs with exponents from 2^-3 to 2^0.
            pool = self.pool("codes", lambda x: (
                (x < 0).astype(numpy.uint8) << 7 | self.random.integers(32, 63, POOL, dtype=numpy.uint8)))
        elif name.endswith("scale_inv"):
            # The columns are not known here: as if there were 4096.
            pool = self.pool("scales", lambda x: ((1.5 + x / 2) / math.sqrt(4096)).astype(numpy.float32))
        else:
            size = 0.1 if len(shape) == 1 else math.sqrt(3 / shape[-1])
            center = 1 if name.endswith("norm.weight") else 0
            pool = self.pool((dtype, size, center), lambda x: narrow(center + size * x, dtype))
        start = int(self.random.integers(0, POOL))
        while count:
            part = pool[start:start + count]
            part.tofile(file)
            count -= len(part)
            start = 0


def narrow(values, dtype):
    values = values.astype(numpy.float32)
    return values if dtype == "F32" else (values.view(numpy.uint32) >> 16).astype(numpy.uint16)


def write_weights(folder, config, shards, seed, progress):
    """model.safetensors, or shards of about equal size with an index."""
    todo = tensors(config)
    sizes = [math.prod(shape) * SIZES[dtype] for _, shape, dtype in todo]
    total, noise, done, index = sum(sizes), Noise(seed), 0, {}
    limit, groups, filled = -(-total // shards), [[]], 0
    for tensor, size in zip(todo, sizes):
        if filled + size > limit and groups[-1] and len(groups) < shards:
            groups.append([])
            filled = 0
        groups[-1].append((tensor, size))
        filled += size
    for number, group in enumerate(groups, 1):
        name = "model.safetensors" if len(groups) == 1 else f"model-{number:05}-of-{len(groups):05}.safetensors"
        header, offset = {"__metadata__": {"format": "pt"}}, 0
        for (tensor, shape, dtype), size in group:
            header[tensor] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + size]}
            index[tensor] = name
            offset += size
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        with open(folder / name, "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for (tensor, shape, dtype), size in group:
                noise.write(file, tensor, shape, dtype)
                done += size
                progress(done, total)
    if len(groups) > 1:
        write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": index})
    return total


CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")
DEEPSEEK2 = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ 'User: ' + message['content'] + "
    "'\n\n' }}{% elif message['role'] == 'assistant' %}{{ 'Assistant: ' + message['content'] + eos_token }}{% else %}"
    "{{ message['content'] + '\n\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}")
DEEPSEEK3 = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ '<｜User｜>' + message['content'] }}"
    "{% elif message['role'] == 'assistant' %}{{ '<｜Assistant｜>' + message['content'] + eos_token }}{% else %}"
    "{{ message['content'] }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<｜Assistant｜>' }}{% endif %}")
INSTRUCT = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + "
    "' [/INST]' }}{% else %}{{ message['content'] + eos_token }}{% endif %}{% endfor %}")
OLMO = (
    "{{ bos_token }}{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}")

# Special tokens with the place of the end of a sequence among them, chat template, pre-tokenizer, tokenizer class.
QWEN_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK_WORDS = (
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|"
    " ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+")
TOKENIZERS = {
    "qwen": (["<|endoftext|>", "<|im_start|>", "<|im_end|>"], None, 2, CHATML, [QWEN_WORDS], "Qwen2Tokenizer"),
    "deepseek-v2": (
        ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"], 0, 1, DEEPSEEK2,
        ["[\\r\\n]", "\\s?\\p{L}+", "\\s?[!-/:-~！-／：-～‘-‟\u3000-。]+", "\\s+$", "[一-龥ࠀ-一가-\ud7ff]+"],
        "LlamaTokenizerFast"),
    "deepseek-v3": (
        ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"], 0, 1, DEEPSEEK3,
        ["\\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+", DEEPSEEK_WORDS], "LlamaTokenizerFast"),
    "mixtral": (["<unk>", "<s>", "</s>"], 1, 2, INSTRUCT, None, "LlamaTokenizer"),
    "olmoe": (["<|padding|>", "<|endoftext|>"], None, 1, OLMO, [], "GPTNeoXTokenizer"),
}
WORDS = "the in on at he or st de re er al tion self ing an le it ac is to of and for that with was import def return".split()


def byte_letters():
    """GPT-2's letter for each byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {byte: chr(byte) for byte in plain}
    for number, byte in enumerate(byte for byte in range(256) if byte not in letters):
        letters[byte] = chr(256 + number)
    return [letters[byte] for byte in range(256)]


def write_tokenizer(folder, family, config):
    specials, bos, eos, template, patterns, kind = TOKENIZERS[family]
    sentence_pieces = patterns is None
    space = "▁" if sentence_pieces else "Ġ"
    vocabulary = {}

    def number(token):
        return vocabulary.setdefault(token, len(vocabulary))

    if sentence_pieces:
        for special in specials:
            number(special)
        for byte in range(256):
            number(f"<0x{byte:02X}>")
        for code in [*range(33, 127), 0x2581]:
            number(chr(code))
    else:
        for letter in sorted(byte_letters()):
            number(letter)
    merges = []
    for word in [variant for word in WORDS for variant in (word, space + word)]:
        left = word[0]
        for letter in word[1:]:
            if left + letter not in vocabulary:
                merges.append([left, letter])
            number(left + letter)
            left += letter
    added = [number(special) for special in specials]
    model = {
        "type": "BPE", "dropout": None, "unk_token": specials[0] if sentence_pieces else None,
        "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": sentence_pieces,
        "byte_fallback": sentence_pieces, "ignore_merges": False,
        "vocab": {token: place for token, place in vocabulary.items() if sentence_pieces or token not in specials},
        "merges": merges,
    }
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": not patterns}
    first = {"type": "TemplateProcessing"}
    if bos is not None:
        start = {"SpecialToken": {"id": specials[bos], "type_id": 0}}
        first["single"] = [start, {"Sequence": {"id": "A", "type_id": 0}}]
        first["pair"] = [*first["single"], start, {"Sequence": {"id": "B", "type_id": 1}}]
        first["special_tokens"] = {
            specials[bos]: {"id": specials[bos], "ids": [added[bos]], "tokens": [specials[bos]]}}
    if sentence_pieces:
        normalizer = {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}
        steps = None
        decoder = {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    else:
        normalizer = {"type": "Sequence", "normalizers": []} if family.startswith("deepseek") else {"type": "NFC"}
        splits = [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
            for pattern in patterns]
        if family == "deepseek-v2":
            splits.append({"type": "Digits", "individual_digits": True})
        steps = {"type": "Sequence", "pretokenizers": [*splits, level]} if splits else level
        decoder = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    write_json(folder / "tokenizer.json", {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [
            {"id": place, "content": special, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "special": True} for special, place in zip(specials, added)],
        "normalizer": normalizer, "pre_tokenizer": steps,
        "post_processor": first if bos is not None else level, "decoder": decoder, "model": model,
    })
    write_json(folder / "tokenizer_config.json", {
        "add_bos_token": bos is not None, "add_eos_token": False,
        "added_tokens_decoder": {
            str(place): {"content": special, "lstrip": False, "normalized": False, "rstrip": False,
                         "single_word": False, "special": True} for special, place in zip(specials, added)},
        "bos_token": specials[bos] if bos is not None else None, "chat_template": template,
        "clean_up_tokenization_spaces": False, "eos_token": specials[eos],
        "model_max_length": config["max_position_embeddings"], "pad_token": specials[eos], "tokenizer_class": kind,
        "unk_token": specials[0] if sentence_pieces else None,
    })
    if len(vocabulary) > config["vocab_size"]:
        raise ValueError(f"{len(vocabulary)} tokens for a vocabulary of {config['vocab_size']}")
    return added[bos] if bos is not None else None, added[eos]


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def make(name, options):
    config, generation, shards, family = MODELS[name]
    config = shrink(config) if options.tiny else json.loads(json.dumps(config))
    first = config.get("first_k_dense_replace", 0)
    if not options.tiny:
        config["num_hidden_layers"] = options.layers or first + 2
        shards = max(1, min(shards, config["num_hidden_layers"]))
        if not options.further:
            config.pop("num_nextn_predict_layers", None)
    else:
        shards = 1 if family == "olmoe" else 2
    if options.experts:
        key = next(key for key in ("num_experts", "num_local_experts", "n_routed_experts") if key in config)
        config[key] = options.experts
    folder = pathlib.Path(options.out) / name
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("model*.safetensors*"):
        old.unlink()
    bos, eos = write_tokenizer(folder, family, config)
    generation = dict(generation)
    if options.tiny:
        # The small tokenizer's own ids: the published ones lie beyond the vocabulary.
        for keys in (config, generation):
            keys["eos_token_id"] = eos
            if "bos_token_id" in keys:
                keys["bos_token_id"] = bos if bos is not None else eos
            if "pad_token_id" in keys:
                keys["pad_token_id"] = eos
    config["transformers_version"] = generation["transformers_version"] = "4.46.3"
    write_json(folder / "config.json", config)
    write_json(folder / "generation_config.json", generation)
    started, shown = time.monotonic(), [-1]

    def progress(done, total):
        percent = 100 * done // total
        if percent != shown[0] and (sys.stderr.isatty() or percent == 100 or percent % 25 == 0):
            shown[0] = percent
            end = "\r" if sys.stderr.isatty() and percent < 100 else "\n"
            print(f"{name}: {percent:3} % of {total / 1e9:.3g} GB", end=end, file=sys.stderr, flush=True)

    total = write_weights(folder, config, shards, options.seed, progress)
    print(f"{folder}: {total} bytes of weights in {time.monotonic() - started:.1f} s")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], epilog="\n".join(__doc__.splitlines()[2:]),
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="*", help="a folder's name, or all")
    parser.add_argument("--list", action="store_true", help="print the names and end")
    parser.add_argument("--out", default="models", help="where the folders go (default: models)")
    parser.add_argument("--layers", type=int, help="decoder layers (default: the dense ones and two)")
    parser.add_argument("--experts", type=int, help="routed experts (default: as published)")
    parser.add_argument("--further", action="store_true", help="also write the layers that predict further tokens")
    parser.add_argument("--tiny", action="store_true", help="shrink all widths: a few MB per model")
    parser.add_argument("--seed", type=int, default=1, help="seed of the weights (default: 1)")
    options = parser.parse_args()
    if options.list:
        print("\n".join(MODELS))
        return
    names = list(MODELS) if options.model == ["all"] else options.model
    if not names:
        parser.error("which model? --list names them")
    for name in names:
        if name not in MODELS:
            parser.error(f"{name}: unknown; --list names those that are known")
        make(name, options)


if __name__ == "__main__":
    main()
