// probes: how often the program allocated.
#pragma once

#include <stddef.h>

/// Calls of malloc, calloc, realloc and aligned allocation since start, in all threads.
size_t probe_allocations(void);
