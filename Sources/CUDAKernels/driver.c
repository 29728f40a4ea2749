// The driver's entry points, looked up by name. Signatures follow NVIDIA's driver API documentation.

#include "cuda_kernels.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

typedef int cu_result;
typedef int cu_device;

// Declares a pointer to the driver's function `name` and finds it in `library`.
#define FIND(name, ...) cu_result (*name)(__VA_ARGS__) = (cu_result (*)(__VA_ARGS__))dlsym(library, #name)

const char *cuda_probe(cuda_machine *machine) {
    static _Thread_local char message[128];
    memset(machine, 0, sizeof *machine);
    void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library) return "no NVIDIA driver (libcuda.so.1) on this machine";
    FIND(cuInit, unsigned);
    FIND(cuDriverGetVersion, int *);
    FIND(cuDeviceGetCount, int *);
    FIND(cuDeviceGet, cu_device *, int);
    FIND(cuDeviceGetName, char *, int, cu_device);
    FIND(cuDeviceTotalMem_v2, size_t *, cu_device);
    if (!cuInit || !cuDriverGetVersion || !cuDeviceGetCount || !cuDeviceGet || !cuDeviceGetName || !cuDeviceTotalMem_v2)
        return "the NVIDIA driver is too old: it lacks functions of CUDA 3.2";
    cu_result status = cuInit(0);
    if (status == 0) status = cuDriverGetVersion(&machine->driver_version);
    if (status == 0) status = cuDeviceGetCount(&machine->device_count);
    const int no_device = 100;  // CUDA_ERROR_NO_DEVICE, what cuInit says where every GPU is hidden
    if (status == no_device || (status == 0 && machine->device_count == 0)) return "the NVIDIA driver finds no GPU";
    cu_device device = 0;
    if (status == 0) status = cuDeviceGet(&device, 0);
    if (status == 0) status = cuDeviceGetName(machine->device_name, sizeof machine->device_name, device);
    if (status == 0) status = cuDeviceTotalMem_v2(&machine->device_memory, device);
    if (status == 0) return NULL;
    snprintf(message, sizeof message, "the NVIDIA driver answered with error %d", status);
    return message;
}
