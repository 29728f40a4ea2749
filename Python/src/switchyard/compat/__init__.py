"""The same op under the argument orders and sizes of other engines: vllm, sglang, kernel."""
