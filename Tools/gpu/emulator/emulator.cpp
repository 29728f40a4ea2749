// emulator: NVIDIA's driver and NVRTC, as far as Switchyard calls them, for machines without a GPU. "Compiling" makes a shared
// library with the host's clang; launching runs every CUDA thread as a fiber, in an order that is shuffled, so that a missing
// barrier shows as a wrong result. It proves what kernels compute, not what they cost, and not the memory model between CTAs.
//
// Built twice by Tools/gpu/emulate, as libcuda.so.1 (EMULATED_DRIVER) and libnvrtc.so.13 (EMULATED_COMPILER).

#include <dlfcn.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#ifdef EMULATED_COMPILER

struct Program {
    std::string source, log, image;
    std::map<std::string, std::string> headers;
};

extern "C" int nvrtcVersion(int *major, int *minor) { return *major = 0, *minor = 0, 0; }

extern "C" int nvrtcCreateProgram(
    Program **program, const char *source, const char *, int count, const char *const *texts, const char *const *names) {
    *program = new Program{source};
    for (int header = 0; header < count; header++) (*program)->headers[names[header]] = texts[header];
    return 0;
}

extern "C" int nvrtcDestroyProgram(Program **program) { return delete *program, 0; }

extern "C" int nvrtcCompileProgram(Program *program, int count, const char *const *options) {
    const char *home = getenv("EMULATOR"), *compiler = getenv("EMULATOR_CXX");
    if (!home || !compiler) return program->log = "EMULATOR or EMULATOR_CXX is not set", 6;
    char folder[] = "/tmp/emulated-kernel.XXXXXX";
    if (!mkdtemp(folder)) return 1;
    std::string path = folder;
    for (auto &[name, text] : program->headers)
        if (name != "ptx.cuh") std::ofstream(path + "/" + name) << text;
    const std::string dynamic = "extern __shared__ __align__(16) char memory[];";
    std::string source = program->source;
    for (size_t at; (at = source.find(dynamic)) != std::string::npos;)
        source.replace(at, dynamic.size(), "char *memory = (char *)emulated_shared();");
    std::ofstream(path + "/kernel.cpp") << source;
    std::string command = std::string(compiler) + " -std=c++20 -O1 -w -ffp-contract=off -shared -fPIC -I" + home + " -I" +
                          path + " -include " + home + "/emulation.h";
    for (int option = 0; option < count; option++)
        if (!strncmp(options[option], "-D", 2)) command += std::string(" ") + options[option];
    command += " " + path + "/kernel.cpp -o " + path + "/kernel.so >" + path + "/log 2>&1";
    bool failed = system(command.c_str()) != 0;
    auto read = [&](const char *name) {
        std::stringstream text;
        text << std::ifstream(path + name, std::ios::binary).rdbuf();
        return text.str();
    };
    program->log = read("/log");
    program->image = read("/kernel.so");
    std::filesystem::remove_all(path);
    return failed ? 6 : 0;
}

extern "C" int nvrtcGetProgramLogSize(Program *program, size_t *size) { return *size = program->log.size() + 1, 0; }
extern "C" int nvrtcGetProgramLog(Program *program, char *log) { return strcpy(log, program->log.c_str()), 0; }
extern "C" int nvrtcGetCUBINSize(Program *program, size_t *size) { return *size = program->image.size(), 0; }
extern "C" int nvrtcGetCUBIN(Program *program, char *image) {
    return memcpy(image, program->image.data(), program->image.size()), 0;
}

#endif

#ifdef EMULATED_DRIVER

// MARK: Fibers

struct uint3 { unsigned x, y, z; };
struct emulated_thread { uint3 index, block, block_size, grid_size; };
struct alignas(64) Parameters { char bytes[1024]; };

/// Threads that meet, again and again.
struct Meeting {
    unsigned arrived = 0, generation = 0;
};

struct Cluster {
    unsigned threads = 0;
    std::atomic<unsigned> arrived{0}, generation{0};
    std::vector<struct CTA *> ctas;
};

struct Fiber {
    emulated_thread self;
    ucontext_t fallback;
    void *stack_pointer = nullptr;
    char *stack = nullptr;
    bool ended = false;
    Meeting *meeting = nullptr;      // what it waits for
    unsigned generation = 0, cluster_generation = 0, exchanges = 0;
    Cluster *cluster = nullptr;      // waits for it
};

constexpr size_t STACK = 32 << 10, REDZONE = 256;

struct Warp {
    Meeting meeting;
    uint32_t words[2][32];
};

struct CTA {
    std::vector<Fiber> fibers;
    std::vector<Warp> warps;
    Meeting all, some;
    unsigned ended = 0;
    Cluster *cluster = nullptr;
    char *shared = nullptr;
    size_t shared_bytes = 0;
    char *static_base = nullptr;
    void *scheduler = nullptr;
    Fiber *running = nullptr;
    void (*kernel)(Parameters) = nullptr;
    const Parameters *parameters = nullptr;
};

static thread_local CTA *cta;

#if !defined(__x86_64__)
#error "the emulator switches stacks on x86-64 only"
#endif
extern "C" void switch_stack(void **save, void *load);
asm(R"(
.text
.globl switch_stack
switch_stack:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");

static void yield() {
    Fiber *self = cta->running;
    switch_stack(&self->stack_pointer, cta->scheduler);
}

static void meet(Meeting &meeting, unsigned expected) {
    Fiber *self = cta->running;
    if (++meeting.arrived == expected) {
        meeting.arrived = 0;
        meeting.generation++;
        return;
    }
    self->meeting = &meeting;
    self->generation = meeting.generation;
    yield();
    self->meeting = nullptr;
}

static void fiber_main() {
    cta->kernel(*cta->parameters);
    cta->running->ended = true;
    cta->ended++;
    // Threads that have ended are not waited for.
    unsigned live = (unsigned)cta->fibers.size() - cta->ended;
    if (live > 0 && cta->all.arrived == live) {
        cta->all.arrived = 0;
        cta->all.generation++;
    }
    yield();
    abort();
}

extern "C" emulated_thread *emulated_self(void) { return &cta->running->self; }
extern "C" void *emulated_shared(void) { return cta->shared; }
extern "C" void emulated_yield(void) {
    yield();
    std::this_thread::yield();
}
extern "C" void emulated_meet(unsigned threads) {
    if (threads) meet(cta->some, threads);
    else meet(cta->all, (unsigned)cta->fibers.size() - cta->ended);
}
extern "C" const uint32_t *emulated_exchange(uint32_t word) {
    Fiber *self = cta->running;
    Warp &warp = cta->warps[self->self.index.x / 32];
    uint32_t *words = warp.words[self->exchanges++ & 1];
    words[self->self.index.x & 31] = word;
    meet(warp.meeting, 32);
    return words;
}
extern "C" void emulated_cluster_arrive(void) {
    Cluster *cluster = cta->cluster;
    if (!cluster) return;
    cta->running->cluster_generation = cluster->generation.load();
    if (cluster->arrived.fetch_add(1) + 1 == cluster->threads) {
        cluster->arrived = 0;
        cluster->generation++;
    }
}
extern "C" void emulated_cluster_wait(void) {
    Cluster *cluster = cta->cluster;
    if (!cluster) return;
    Fiber *self = cta->running;
    while (cluster->generation.load() == self->cluster_generation) {
        self->cluster = cluster;
        yield();
        self->cluster = nullptr;
    }
}
extern "C" void *emulated_remote(void *local, unsigned rank) {
    CTA *other = cta->cluster->ctas[rank];
    char *place = (char *)local;
    if (place >= cta->shared && place < cta->shared + cta->shared_bytes) return other->shared + (place - cta->shared);
    return other->static_base + (place - cta->static_base);
}

static std::atomic<uint64_t> disorder{1};

static void run(CTA &mine, void *(*static_base)(void)) {
    cta = &mine;
    uint64_t random = disorder.fetch_add(0x9e3779b97f4a7c15) | 1;
    auto next = [&] { return random ^= random << 13, random ^= random >> 7, random ^= random << 17; };
    size_t count = mine.fibers.size();
    char *stacks = (char *)mmap(
        nullptr, count * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    for (size_t index = 0; index < count; index++) {
        void **top = (void **)(stacks + (index + 1) * STACK) - 2;
        *top = (void *)fiber_main;
        mine.fibers[index].stack_pointer = top - 6;
    }
    (void)static_base;
    std::vector<size_t> order(count);
    for (size_t index = 0; index < count; index++) order[index] = index;
    while (mine.ended < count) {
        bool progress = false, outside = false;
        size_t shift = next() % count, step = next() % 2 ? 1 : count - 1;
        for (size_t turn = 0, at = shift; turn < count; turn++, at = (at + step) % count) {
            Fiber &fiber = mine.fibers[order[at]];
            if (fiber.ended) continue;
            if (fiber.meeting && fiber.meeting->generation == fiber.generation) continue;
            if (fiber.cluster && fiber.cluster->generation.load() == fiber.cluster_generation) {
                outside = true;
                continue;
            }
            mine.running = &fiber;
            switch_stack(&mine.scheduler, fiber.stack_pointer);
            progress = true;
        }
        std::swap(order[next() % count], order[next() % count]);
        if (!progress && !outside) {
            fprintf(stderr, "emulator: threads of a CTA wait for one another\n");
            abort();
        }
        if (!progress) std::this_thread::yield();
    }
    munmap(stacks, count * STACK);
    for (size_t byte = 0; byte < REDZONE; byte++)
        if (mine.shared[mine.shared_bytes + byte] != 0x5b) {
            fprintf(stderr, "emulator: a kernel wrote behind its %zu bytes of shared memory\n", mine.shared_bytes);
            abort();
        }
}

// MARK: Driver

struct Module { void *library; };
struct Function {
    void (*kernel)(Parameters);
    void *(*static_base)(void);
    int shared_limit = 48 << 10;
    bool large_clusters = false;
};
struct Attribute { int id, padding; union { int flag; unsigned cluster[3]; char bytes[64]; } value; };
struct Configuration {
    unsigned grid[3], block[3], shared_bytes;
    void *stream;
    Attribute *attributes;
    unsigned attribute_count;
};
struct Graph { std::vector<std::function<int()>> work; };
/// The stream that is being captured, and how: one at a time.
static struct { Graph *graph; void *stream; uint64_t number; } capture;
static thread_local int capture_mode;
static thread_local void *current_context;

static int enqueue(void *stream, std::function<int()> work) {
    if (!capture.graph || capture.stream != stream) return work();
    capture.graph->work.push_back(std::move(work));
    return 0;
}

/// What a capture forbids unless the thread's mode is relaxed.
static bool is_forbidden() { return capture.graph && capture_mode != 2; }

constexpr int INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_CONTEXT = 201, NOT_FOUND = 500, CAPTURE_UNSUPPORTED = 900,
              INVALID_CLUSTER = 912;

static int launch(Function *function, unsigned grid, unsigned block, unsigned shared, unsigned cluster, bool together,
                  const Parameters &parameters) {
    unsigned size = together ? grid : cluster ? cluster : 1;
    for (unsigned first = 0; first < grid; first += size) {
        Cluster meeting;
        meeting.threads = size * block;
        std::vector<std::unique_ptr<CTA>> ctas;
        for (unsigned rank = 0; rank < size; rank++) {
            auto mine = std::make_unique<CTA>();
            mine->fibers.resize(block);
            mine->warps.resize(block / 32);
            for (unsigned thread = 0; thread < block; thread++)
                mine->fibers[thread].self = {{thread, 0, 0}, {first + rank, 0, 0}, {block, 1, 1}, {grid, 1, 1}};
            mine->cluster = cluster ? &meeting : nullptr;
            mine->shared = (char *)aligned_alloc(256, (shared + REDZONE + 255) / 256 * 256);
            memset(mine->shared, 0x5b, shared + REDZONE);
            mine->shared_bytes = shared;
            mine->kernel = function->kernel;
            mine->parameters = &parameters;
            meeting.ctas.push_back(mine.get());
            ctas.push_back(std::move(mine));
        }
        // Every CTA says where its static memory lies before any begins.
        std::atomic<unsigned> ready{0};
        std::vector<std::thread> threads;
        for (auto &mine : ctas)
            threads.emplace_back([&, pointer = mine.get()] {
                pointer->static_base = (char *)function->static_base();
                ready++;
                while (ready.load() < size) std::this_thread::yield();
                run(*pointer, nullptr);
            });
        for (auto &thread : threads) thread.join();
        for (auto &mine : ctas) free(mine->shared);
    }
    return 0;
}

extern "C" {

int cuInit(unsigned) { return 0; }
int cuDriverGetVersion(int *version) { return *version = 13000, 0; }
int cuGetErrorName(int status, const char **name) {
    static thread_local char text[32];
    snprintf(text, sizeof text, "EMULATED_%d", status);
    return *name = text, 0;
}
int cuGetErrorString(int, const char **text) { return *text = "see the driver's documentation", 0; }
int cuDeviceGetCount(int *count) { return *count = 1, 0; }
int cuDeviceGet(int *device, int ordinal) { return *device = ordinal, 0; }
int cuDeviceGetName(char *name, int length, int) { return snprintf(name, length, "emulated GPU"), 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int) { return *bytes = (size_t)4 << 30, 0; }
int cuDeviceGetAttribute(int *value, int attribute, int) {
    const std::map<int, int> known = {{75, getenv("EMULATOR_CAPABILITY") ? atoi(getenv("EMULATOR_CAPABILITY")) / 10 : 9},
                                      {76, 0}, {16, 12}, {38, 1 << 20}, {97, 227 << 10}};
    auto found = known.find(attribute);
    if (found == known.end()) return INVALID_VALUE;
    return *value = found->second, 0;
}
int cuDevicePrimaryCtxRetain(void **context, int) { return *context = (void *)1, 0; }
int cuDevicePrimaryCtxRelease_v2(int) { return 0; }
int cuCtxSetCurrent(void *context) { return current_context = context, 0; }
int cuCtxGetCurrent(void **context) { return *context = current_context, 0; }
int cuMemGetInfo_v2(size_t *available, size_t *total) { return *available = *total = (size_t)4 << 30, 0; }
int cuMemAlloc_v2(uint64_t *memory, size_t bytes) {
    if (bytes > (size_t)4 << 30) return OUT_OF_MEMORY;
    if (!current_context) return INVALID_CONTEXT;
    if (is_forbidden()) return CAPTURE_UNSUPPORTED;
    void *block = aligned_alloc(512, (bytes + 511) / 512 * 512);
    memset(block, 0x77, bytes);
    return *memory = (uint64_t)block, 0;
}
int cuMemFree_v2(uint64_t memory) { return free((void *)memory), 0; }
int cuMemHostAlloc(void **memory, size_t bytes, unsigned) { return *memory = aligned_alloc(64, (bytes + 63) / 64 * 64), 0; }
int cuMemFreeHost(void *memory) { return free(memory), 0; }
int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, void *stream) {
    return enqueue(stream, [=] { return memcpy((void *)to, from, bytes), 0; });
}
int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, void *stream) {
    return enqueue(stream, [=] { return memcpy(to, (void *)from, bytes), 0; });
}
int cuMemsetD8Async(uint64_t to, unsigned char value, size_t count, void *stream) {
    return enqueue(stream, [=] { return memset((void *)to, value, count), 0; });
}
int cuStreamCreate(void **stream, unsigned) { return *stream = new char, 0; }
int cuStreamDestroy_v2(void *stream) { return delete (char *)stream, 0; }
int cuStreamSynchronize(void *stream) {
    return is_forbidden() || (capture.graph && capture.stream == stream) ? CAPTURE_UNSUPPORTED : 0;
}
int cuStreamWaitEvent(void *, void *, unsigned) { return 0; }
int cuStreamBeginCapture_v2(void *stream, int) {
    capture = {new Graph, stream, capture.number + 1};
    return 0;
}
int cuStreamEndCapture(void *, void **graph) { return *graph = capture.graph, capture.graph = nullptr, 0; }
int cuStreamGetCaptureInfo_v2(void *stream, int *status, uint64_t *number, void **, void **, size_t *) {
    *status = capture.graph && capture.stream == stream;
    if (*status && number) *number = capture.number;
    return 0;
}
int cuThreadExchangeStreamCaptureMode(int *mode) { return std::swap(*mode, capture_mode), 0; }
int cuEventCreate(void **event, unsigned) { return *event = new double(0), 0; }
int cuEventDestroy_v2(void *event) { return delete (double *)event, 0; }
int cuEventRecord(void *event, void *) {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return *(double *)event = (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6, 0;
}
int cuEventQuery(void *) { return 0; }
int cuEventSynchronize(void *) { return 0; }
int cuEventElapsedTime(float *milliseconds, void *from, void *to) {
    return *milliseconds = (float)(*(double *)to - *(double *)from), 0;
}
int cuGraphInstantiateWithFlags(void **executable, void *graph, unsigned long long) {
    return *executable = new Graph(*(Graph *)graph), 0;
}
int cuGraphLaunch(void *executable, void *) {
    for (auto &work : ((Graph *)executable)->work)
        if (int status = work()) return status;
    return 0;
}
int cuGraphExecDestroy(void *executable) { return delete (Graph *)executable, 0; }
int cuGraphDestroy(void *graph) { return delete (Graph *)graph, 0; }
int cuModuleLoadData(void **module, const void *image) {
    if (!current_context) return INVALID_CONTEXT;
    if (is_forbidden()) return CAPTURE_UNSUPPORTED;
    // The image is a shared library; its section headers come last and say how long it is.
    const uint64_t *header = (const uint64_t *)image;
    const uint16_t *halves = (const uint16_t *)image;
    size_t size = header[5] + (size_t)halves[29] * halves[30];
    char path[] = "/tmp/emulated-module.XXXXXX";
    int file = mkstemp(path);
    bool written = file >= 0 && write(file, image, size) == (ssize_t)size;
    close(file);
    void *library = written ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : nullptr;
    unlink(path);
    if (!library) return fprintf(stderr, "emulator: %s\n", dlerror()), INVALID_VALUE;
    return *module = new Module{library}, 0;
}
int cuModuleUnload(void *module) { return dlclose(((Module *)module)->library), delete (Module *)module, 0; }
int cuModuleGetFunction(void **function, void *module, const char *name) {
    void *library = ((Module *)module)->library, *kernel = dlsym(library, name);
    if (!kernel) return NOT_FOUND;
    *function = new Function{(void (*)(Parameters))kernel, (void *(*)(void))dlsym(library, "emulated_static_base")};
    return 0;
}
int cuFuncSetAttribute(void *function, int attribute, int value) {
    if (attribute == 8) ((Function *)function)->shared_limit = value;
    if (attribute == 14) ((Function *)function)->large_clusters = value != 0;
    return 0;
}
int cuLaunchKernelEx(const Configuration *how, Function *function, void **parameters, void **) {
    unsigned grid = how->grid[0], block = how->block[0], shared = how->shared_bytes, cluster = 0;
    bool together = false;
    for (unsigned index = 0; index < how->attribute_count; index++) {
        if (how->attributes[index].id == 2) together = how->attributes[index].value.flag != 0;
        if (how->attributes[index].id == 4) cluster = how->attributes[index].value.cluster[0];
    }
    if (grid == 0 || block == 0 || block > 1024 || block % 32 != 0 || (int)shared > function->shared_limit)
        return INVALID_VALUE;
    if (cluster > (function->large_clusters ? 16 : 8) || (cluster && grid % cluster)) return INVALID_CLUSTER;
    if (together && grid > 12) return INVALID_VALUE;
    auto copy = std::make_shared<Parameters>();
    memcpy(copy->bytes, parameters[0], 256);
    if (!current_context) return INVALID_CONTEXT;
    return enqueue(how->stream, [=] { return launch(function, grid, block, shared, cluster, together, *copy); });
}

}  // extern "C"

#endif
