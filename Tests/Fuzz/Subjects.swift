// Subjects: the readers that meet bytes from outside, what to begin from, and what is done with what they accept.

import Compute
import DemoModel
import Engine
import Experts
import Foundation
import Models
import Server
import Support
import Text

/// The readers that meet bytes from outside.
enum Subjects {
    /// All of them.
    static func all() throws -> [Subject] { try requests() + [safetensors(), tokenizer(), archive(), pickle()] }

    private static func pieces(_ text: String) -> [[UInt8]] { text.split(separator: " ").map { Array($0.utf8) } }

    // MARK: Requests

    private static func requests() throws -> [Subject] {
        var model = ModelDescription()
        model.vocabularySize = 8192
        model.contextLength = 2048
        let reader = RequestReader(text: try ModelText(files: .demo), model: model)
        let sampling = """
            "max_new_tokens": 8, "min_new_tokens": 1, "temperature": 0.5, "top_p": 0.9, "top_k": 4, "min_p": 0.1, \
            "frequency_penalty": 1, "presence_penalty": -1.5, "repetition_penalty": 1.1, "stop": ["a", "\\n"], \
            "stop_token_ids": [5], "ignore_eos": true, "skip_special_tokens": false, "logit_bias": {"9": -2.5}, "n": 2
            """
        let openAI = """
            "model": "m", "rid": "r", "stream": true, "stream_options": {"include_usage": true}, "seed": 7, \
            "max_tokens": 3, "response_format": {"type": "text"}, "return_routed_experts": "compact", \(sampling)
            """
        let bodies: [(kind: RequestReader.Kind, texts: [String])] = [
            (
                .generate,
                [
                    #"{"text": "Grüße \ud83d\ude82", "sampling_params": {\#(sampling)}}"#,
                    """
                    {"input_ids": [[1, 2], [3]], "rid": ["a", "b"], "sampling_params": [{}, {"n": 2}], \
                    "return_logprob": [true, false], "logprob_start_len": [0, -1], "top_logprobs_num": [2, 0], \
                    "token_ids_logprob": [[1], [2]], "return_text_in_logprobs": true, "stream": true}
                    """,
                    #"{"text": ["a", "b"], "rid": "x", "return_routed_experts": true, "routed_experts_start_len": 0}"#,
                ]
            ),
            (
                .completion,
                [
                    #"{"prompt": "a", "logprobs": 3, "echo": true, "best_of": 2, \#(openAI)}"#,
                    #"{"prompt": [[1, 2], [3]], "max_tokens": null, "logprobs": 0}"#,
                ]
            ),
            (
                .chat,
                [
                    """
                    {"messages": [{"role": "system", "content": "Be short."}, {"role": "user", "content": \
                    [{"type": "text", "text": "Hi"}]}, {"role": "assistant", "content": null, "tool_calls": [{"id": "c", \
                    "function": {"name": "f", "arguments": "{\\"a\\": [1, 2.5]}"}}]}, {"role": "tool", "content": "4"}], \
                    "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}], "tool_choice": "auto", \
                    "logprobs": true, "top_logprobs": 2, "chat_template_kwargs": {"x": [null, true]}, \(openAI)}
                    """,
                    #"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "#
                        + #""continue_final_message": true}"#,
                ]
            ),
        ]
        let notText: [[UInt8]] = [[0xFF], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0xE2, 0x82]]
        let words =
            pieces(
                """
                { } [ ] " : , null true false \\u0000 \\ud800 \\u2028 \\" -1 1e999 "n": "stop": "text": "input_ids": "prompt": \
                "messages": "role": "content": [[[[[[[[ ]]]]]]]] {"a":{"a":{"a": "json_schema": "logit_bias": \u{FEFF} \u{0}
                """) + notText
        return bodies.map { kind, texts in
            Subject(name: "\(kind)", share: 3, seeds: texts.map { Array($0.utf8) }, words: words) { bytes in
                try reader.accepts(bytes, as: kind)
            }
        }
    }

    // MARK: Files

    private static func safetensors() throws -> Subject {
        let header = """
            {"__metadata__": {"format": "pt"}, "a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}, \
            "b": {"dtype": "BF16", "shape": [3], "data_offsets": [16, 22]}, "c": {"dtype": "F16", "shape": [], \
            "data_offsets": [22, 24]}}
            """
        let file =
            withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian, Array.init) + Array(header.utf8)
            + [UInt8](repeating: 0x3F, count: 24)
        let words = pieces(
            #"{ } [ ] " : , F32 BF16 F16 I64 U8 F8_E4M3 [0,0] [1,0] [24,24] [-1] "shape": "dtype": "data_offsets": null"#
        )
        return Subject(name: "safetensors", share: 3, seeds: [file], words: words) { bytes in
            bytes.withUnsafeBytes { bytes in
                do throws(ModelFileError) {
                    let tensors = try SafetensorsFile(MappedBytes(permanent: bytes, name: "fuzz")).tensors
                    return tensors.values.allSatisfy { tensor in
                        tensor.withBytes { $0.reduce(0) { $0 &+ Int($1) } } >= 0
                    }
                } catch {
                    return false
                }
            }
        }
    }

    private static func tokenizer() throws -> Subject {
        let real = try Golden.data("models/qwen2-moe-tiny/tokenizer.json")
        let words = pieces(
            """
            { } [ ] " : , null true "id": "content": "vocab": "merges": "type": "BPE" "Sequence" "Split" "Regex": "NFKC" \
            "a b" ["a","b"] -1 2147483647 4294967296 \\u0120 \\ud83d "ignore_merges": "byte_fallback": "normalized":
            """)
        let texts = ["abc ab a! \u{0}", "Grüße, 世界! 🚂\r\n  'll <|end|>", "e\u{301}\u{1F468}\u{200D}\u{1F469}"]
        return Subject(
            name: "tokenizer", share: 1, seeds: [Array(real)],
            words: words
        ) { bytes in
            guard let tokenizer = try? bytes.withUnsafeBytes({ try Tokenizer(tokenizerJSON: $0) }) else { return false }
            for text in texts { _ = tokenizer.decode(tokenizer.encode(text, addSpecialTokens: true)) }
            return true
        }
    }

    /// Recordings as archives, as they lie on disk.
    private static func archive() throws -> Subject {
        let names = ["stat", "per_pass", "per_token", "stat_v1"]
        let seeds = try names.map { Array(try Golden.data("recorder/tiny_identity/\($0).pt")) }
        let tensors = try Recording(bytes: seeds[0]).bytes(.safetensors)
        let json = try Recording(bytes: seeds[0]).bytes(.json)
        let words: [[UInt8]] = [[0x50, 0x4B, 1, 2], [0x50, 0x4B, 5, 6], [0x50, 0x4B, 6, 6], [0x50, 0x4B, 3, 4]]
        return Subject(name: "pt", share: 1, seeds: seeds + [tensors, json], words: words) { accepts($0) }
    }

    /// The pickle inside an archive that is otherwise in order.
    private static func pickle() throws -> Subject {
        let names = [
            "tiny_identity/stat", "tiny_identity/per_pass", "pt_misc/views", "pt_misc/dtypes", "pt_misc/plain",
        ]
        let archives = try names.map { try StoredArchive(Array(try Golden.data("recorder/\($0).pt"))) }
        let opcodes: [[UInt8]] = [
            [0x80, 2], [0x81], [0x8A, 1, 0xFF], [0x85], [0x86], [0x87], [0x28], [0x52], [0x51], [0x71, 0], [0x68, 0],
            [0x2E],
        ]
        let words =
            pieces("ctorch._utils\n_rebuild_tensor_v2\n ctorch\nFloatStorage\n cbuiltins\neval\n storage cpu 0")
            + opcodes
        return Subject(
            name: "pickle", share: 2, seeds: archives.map(\.pickle), words: words,
            wrap: { archives[$1].bytes(pickle: $0) }
        ) { accepts($0) }
    }

    private static func accepts(_ bytes: [UInt8]) -> Bool {
        let archive = try? PyTorchArchive.read(bytes)
        guard let recording = try? Recording(bytes: bytes) else { return archive != nil }
        return recording.layers > 0
    }
}
