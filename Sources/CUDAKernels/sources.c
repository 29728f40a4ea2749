// The device code, as text inside the binary.

#include "cuda_kernels.h"

static const char route_arguments_text[] = {
#embed "include/route_arguments.h"
    , 0};
static const char ptx_text[] = {
#embed "cuda/ptx.cuh"
    , 0};
static const char device_text[] = {
#embed "cuda/device.cuh"
    , 0};
static const char align_header_text[] = {
#embed "cuda/align.cuh"
    , 0};
static const char gate_header_text[] = {
#embed "cuda/gate.cuh"
    , 0};
static const char gate_many_text[] = {
#embed "cuda/gate_many.cuh"
    , 0};
static const char align_text[] = {
#embed "cuda/align.cu"
    , 0};
static const char gate_text[] = {
#embed "cuda/gate.cu"
    , 0};
static const char route_text[] = {
#embed "cuda/route.cu"
    , 0};
static const char floor_text[] = {
#embed "cuda/floor.cu"
    , 0};

static const cuda_source sources[] = {
    {"route_arguments.h", route_arguments_text, true},
    {"ptx.cuh", ptx_text, true},
    {"device.cuh", device_text, true},
    {"align.cuh", align_header_text, true},
    {"gate.cuh", gate_header_text, true},
    {"gate_many.cuh", gate_many_text, true},
    {"align.cu", align_text, false},
    {"gate.cu", gate_text, false},
    {"route.cu", route_text, false},
    {"floor.cu", floor_text, false},
};

const cuda_source *cuda_source_at(int index) {
    const int count = sizeof sources / sizeof *sources;
    return index >= 0 && index < count ? sources + index : NULL;
}
