// The demo model's files, embedded in the binary, so that the product serves wherever the binary is copied.
#pragma once

#include <stddef.h>

typedef struct {
    const char *name;            // file name in a Hugging Face model folder
    const unsigned char *bytes;  // 64-byte aligned, read-only, mapped with the binary
    size_t size;
} demo_model_file;

/// The file of number `index`, counted from 0; NULL past the last.
const demo_model_file *demo_model_file_at(size_t index);
