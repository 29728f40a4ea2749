// cuda_kernels: NVIDIA's driver and run-time compiler, opened by name when somebody asks, and the device code to compile.
//
// Nothing of CUDA is needed to build. Functions have the vendor's name behind `nv_` and the vendor's meaning (driver API and
// NVRTC documentation); 0 is success. Call none before its library is open.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "route_arguments.h"

#define CUDA_DRIVER_FUNCTIONS(X) \
    X(cuInit, (unsigned flags), (flags)) \
    X(cuDriverGetVersion, (int *version), (version)) \
    X(cuGetErrorName, (int status, const char **name), (status, name)) \
    X(cuGetErrorString, (int status, const char **text), (status, text)) \
    X(cuDeviceGetCount, (int *count), (count)) \
    X(cuDeviceGet, (int *device, int ordinal), (device, ordinal)) \
    X(cuDeviceGetName, (char *name, int length, int device), (name, length, device)) \
    X(cuDeviceTotalMem_v2, (size_t *bytes, int device), (bytes, device)) \
    X(cuDeviceGetAttribute, (int *value, int attribute, int device), (value, attribute, device)) \
    X(cuDevicePrimaryCtxRetain, (void **context, int device), (context, device)) \
    X(cuDevicePrimaryCtxRelease_v2, (int device), (device)) \
    X(cuCtxSetCurrent, (void *context), (context)) \
    X(cuCtxGetCurrent, (void **context), (context)) \
    X(cuMemGetInfo_v2, (size_t *available, size_t *total), (available, total)) \
    X(cuMemAlloc_v2, (uint64_t *memory, size_t bytes), (memory, bytes)) \
    X(cuMemFree_v2, (uint64_t memory), (memory)) \
    X(cuMemHostAlloc, (void **memory, size_t bytes, unsigned flags), (memory, bytes, flags)) \
    X(cuMemFreeHost, (void *memory), (memory)) \
    X(cuMemcpyHtoDAsync_v2, (uint64_t to, const void *from, size_t bytes, void *stream), (to, from, bytes, stream)) \
    X(cuMemcpyDtoHAsync_v2, (void *to, uint64_t from, size_t bytes, void *stream), (to, from, bytes, stream)) \
    X(cuMemsetD8Async, (uint64_t to, unsigned char value, size_t count, void *stream), (to, value, count, stream)) \
    X(cuStreamCreate, (void **stream, unsigned flags), (stream, flags)) \
    X(cuStreamDestroy_v2, (void *stream), (stream)) \
    X(cuStreamSynchronize, (void *stream), (stream)) \
    X(cuStreamWaitEvent, (void *stream, void *event, unsigned flags), (stream, event, flags)) \
    X(cuStreamBeginCapture_v2, (void *stream, int mode), (stream, mode)) \
    X(cuStreamEndCapture, (void *stream, void **graph), (stream, graph)) \
    X(cuStreamGetCaptureInfo_v2, (void *stream, int *status, uint64_t *capture, void **graph, void **nodes, size_t *count), \
      (stream, status, capture, graph, nodes, count)) \
    X(cuThreadExchangeStreamCaptureMode, (int *mode), (mode)) \
    X(cuEventCreate, (void **event, unsigned flags), (event, flags)) \
    X(cuEventDestroy_v2, (void *event), (event)) \
    X(cuEventRecord, (void *event, void *stream), (event, stream)) \
    X(cuEventQuery, (void *event), (event)) \
    X(cuEventSynchronize, (void *event), (event)) \
    X(cuEventElapsedTime, (float *milliseconds, void *from, void *to), (milliseconds, from, to)) \
    X(cuGraphInstantiateWithFlags, (void **executable, void *graph, unsigned long long flags), (executable, graph, flags)) \
    X(cuGraphLaunch, (void *executable, void *stream), (executable, stream)) \
    X(cuGraphExecDestroy, (void *executable), (executable)) \
    X(cuGraphDestroy, (void *graph), (graph)) \
    X(cuModuleLoadData, (void **module, const void *image), (module, image)) \
    X(cuModuleUnload, (void *module), (module)) \
    X(cuModuleGetFunction, (void **function, void *module, const char *name), (function, module, name)) \
    X(cuFuncSetAttribute, (void *function, int attribute, int value), (function, attribute, value)) \
    X(cuLaunchKernelEx, (const void *configuration, void *function, void **parameters, void **extra), \
      (configuration, function, parameters, extra))

#define CUDA_COMPILER_FUNCTIONS(X) \
    X(nvrtcVersion, (int *major, int *minor), (major, minor)) \
    X(nvrtcCreateProgram, (void **program, const char *source, const char *name, int headers, \
      const char *const *texts, const char *const *names), (program, source, name, headers, texts, names)) \
    X(nvrtcDestroyProgram, (void **program), (program)) \
    X(nvrtcCompileProgram, (void *program, int count, const char *const *options), (program, count, options)) \
    X(nvrtcGetProgramLogSize, (void *program, size_t *bytes), (program, bytes)) \
    X(nvrtcGetProgramLog, (void *program, char *log), (program, log)) \
    X(nvrtcGetCUBINSize, (void *program, size_t *bytes), (program, bytes)) \
    X(nvrtcGetCUBIN, (void *program, char *image), (program, image))

#define CUDA_DECLARE(name, parameters, arguments) int nv_##name parameters;
CUDA_DRIVER_FUNCTIONS(CUDA_DECLARE)
CUDA_COMPILER_FUNCTIONS(CUDA_DECLARE)

/// Opens the driver, once per process; later calls give the first answer.
///
/// Returns NULL, or one line that says what is missing.
const char *cuda_open_driver(void);

/// Opens NVRTC: a library of this name or path, and its built-ins beside it. Once one is open, nothing happens.
///
/// Returns whether NVRTC is open.
bool cuda_open_compiler(const char *path);

/// The versions that cuBLASLt and NCCL say they have: libraries of this name or path. Returns whether there is one.
bool cuda_cublaslt_version(const char *path, size_t *version);
bool cuda_nccl_version(const char *path, int *version);

/// How a kernel is launched.
typedef struct {
    unsigned grid, block;      // CTAs, threads in a CTA
    unsigned shared_bytes;     // dynamic shared memory
    unsigned cluster;          // CTAs in a cluster; 0 without clusters
    bool cooperative;          // all CTAs run at the same time
    bool early;                // may begin while the launch before it ends; the kernel itself waits for its inputs
} cuda_launch;

/// Launches a kernel of one parameter, a struct at `arguments`.
int cuda_launch_kernel(void *function, const cuda_launch *launch, void *stream, const void *arguments);

/// A source of device code.
typedef struct {
    const char *name;          // `align.cu`
    const char *text;
    bool is_header;            // included by others
} cuda_source;

/// Source number `index`; NULL behind the last.
const cuda_source *cuda_source_at(int index);
