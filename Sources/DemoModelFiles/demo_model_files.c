#include "demo_model_files.h"

#pragma clang diagnostic ignored "-Wc23-extensions"

#define ALIGNED __attribute__((aligned(64)))

ALIGNED static const unsigned char config[] = {
#embed "model/config.json"
};
ALIGNED static const unsigned char generation_config[] = {
#embed "model/generation_config.json"
};
ALIGNED static const unsigned char tokenizer[] = {
#embed "model/tokenizer.json"
};
ALIGNED static const unsigned char tokenizer_config[] = {
#embed "model/tokenizer_config.json"
};
ALIGNED static const unsigned char weights[] = {
#embed "model/model.safetensors"
};

static const demo_model_file files[] = {
    {"config.json", config, sizeof config},
    {"generation_config.json", generation_config, sizeof generation_config},
    {"tokenizer.json", tokenizer, sizeof tokenizer},
    {"tokenizer_config.json", tokenizer_config, sizeof tokenizer_config},
    {"model.safetensors", weights, sizeof weights},
};

const demo_model_file *demo_model_file_at(size_t index) {
    return index < sizeof files / sizeof files[0] ? &files[index] : NULL;
}
