// cuda_kernels: the NVIDIA driver, opened at run time and never needed to build.
#pragma once

#include <stddef.h>

/// What the driver of this machine says of itself.
typedef struct {
    int driver_version;     // 1000 * major + 10 * minor of the newest CUDA that the driver supports
    int device_count;
    char device_name[256];  // of device 0
    size_t device_memory;   // bytes of device 0
} cuda_machine;

/// Opens the driver and asks it for its devices.
///
/// Returns NULL and fills `machine`, or returns why there is no usable GPU: a static string, or one that lives until
/// the next call from the same thread.
const char *cuda_probe(cuda_machine *machine);
