// The libraries' entry points, looked up by name.

#define _GNU_SOURCE
#include "cuda_kernels.h"

#include <dlfcn.h>
#include <glob.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define FORWARD(name, parameters, arguments) \
    static int (*found_##name) parameters; \
    int nv_##name parameters { return found_##name arguments; }
CUDA_DRIVER_FUNCTIONS(FORWARD)
CUDA_COMPILER_FUNCTIONS(FORWARD)

#define FIND(name, parameters, arguments) \
    found_##name = (int (*) parameters)dlsym(library, #name); \
    if (!found_##name) missing = #name;

static const char *driver_reason;

static void open_driver(void) {
    static char message[128];
    driver_reason = message;
    void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        driver_reason = "no NVIDIA driver (libcuda.so.1) on this machine";
        return;
    }
    const char *missing = NULL;
    CUDA_DRIVER_FUNCTIONS(FIND)
    if (missing) {
        snprintf(message, sizeof message, "the NVIDIA driver is too old: it lacks %s; install one for CUDA 12 or newer", missing);
        return;
    }
    int status = nv_cuInit(0), version = 0, count = 0;
    if (status == 0) status = nv_cuDriverGetVersion(&version);
    if (status == 0) status = nv_cuDeviceGetCount(&count);
    const int no_device = 100;  // CUDA_ERROR_NO_DEVICE, what cuInit says where every GPU is hidden
    if (status == no_device || (status == 0 && count == 0)) driver_reason = "the NVIDIA driver finds no GPU";
    else if (status != 0) snprintf(message, sizeof message, "the NVIDIA driver answered with error %d", status);
    else if (version < 12000)
        snprintf(message, sizeof message, "the NVIDIA driver is too old: it is for CUDA %d.%d, 12.0 or newer is needed",
                 version / 1000, version % 1000 / 10);
    else driver_reason = NULL;
}

const char *cuda_open_driver(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, open_driver);
    return driver_reason;
}

// NVRTC looks for its built-ins where the loader does, not beside itself; so they are opened first.
static void open_builtins(void *library) {
    void *symbol = dlsym(library, "nvrtcVersion");
    Dl_info info;
    if (!symbol || !dladdr(symbol, &info) || !info.dli_fname) return;
    const char *slash = strrchr(info.dli_fname, '/');
    if (!slash) return;
    char pattern[4096];
    snprintf(pattern, sizeof pattern, "%.*s/libnvrtc-builtins.so*", (int)(slash - info.dli_fname), info.dli_fname);
    glob_t found;
    if (glob(pattern, 0, NULL, &found) == 0) {
        for (size_t match = 0; match < found.gl_pathc; match++)
            if (dlopen(found.gl_pathv[match], RTLD_NOW | RTLD_GLOBAL)) break;
    }
    globfree(&found);
}

bool cuda_open_compiler(const char *path) {
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    static bool is_open;
    pthread_mutex_lock(&mutex);
    void *library = is_open ? NULL : dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library) {
        const char *missing = NULL;
        CUDA_COMPILER_FUNCTIONS(FIND)
        if (!missing) {
            open_builtins(library);
            is_open = true;
        }
    }
    bool result = is_open;
    pthread_mutex_unlock(&mutex);
    return result;
}

static void *find(const char *path, const char *name) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    return library ? dlsym(library, name) : NULL;
}

bool cuda_cublaslt_version(const char *path, size_t *version) {
    size_t (*ask)(void) = (size_t (*)(void))find(path, "cublasLtGetVersion");
    if (ask) *version = ask();
    return ask != NULL;
}

bool cuda_nccl_version(const char *path, int *version) {
    int (*ask)(int *) = (int (*)(int *))find(path, "ncclGetVersion");
    return ask && ask(version) == 0;
}

// CUlaunchAttribute and CUlaunchConfig of the driver API.
typedef struct {
    int id, padding;
    union {
        int flag;
        struct { unsigned x, y, z; } cluster;
        char bytes[64];
    } value;
} launch_attribute;

typedef struct {
    unsigned grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes;
    void *stream;
    launch_attribute *attributes;
    unsigned attribute_count;
} launch_configuration;

int cuda_launch_kernel(void *function, const cuda_launch *launch, void *stream, const void *arguments) {
    launch_attribute attributes[3];
    memset(attributes, 0, sizeof attributes);
    unsigned count = 0;
    if (launch->cooperative) attributes[count++] = (launch_attribute){.id = 2, .value.flag = 1};
    if (launch->cluster > 0)
        attributes[count++] = (launch_attribute){.id = 4, .value.cluster = {launch->cluster, 1, 1}};
    if (launch->early) attributes[count++] = (launch_attribute){.id = 6, .value.flag = 1};
    launch_configuration configuration = {
        launch->grid, 1, 1, launch->block, 1, 1, launch->shared_bytes, stream, attributes, count};
    void *parameters[] = {(void *)arguments};
    return nv_cuLaunchKernelEx(&configuration, function, parameters, NULL);
}
