// The demo model's files, embedded in the binary, so that the product serves wherever the binary is copied.
#pragma once

#include <stddef.h>

typedef struct {
    const char *name;            // file name in a Hugging Face model folder
    const unsigned char *bytes;  // 64-byte aligned, read-only, mapped with the binary
    size_t size;
} demo_model_file;

extern const demo_model_file demo_model_files[];
extern const size_t demo_model_file_count;
