// probes: what the machine can do, and how often the program allocated.
#pragma once

#include <stddef.h>

/// Calls of malloc, calloc, realloc and aligned allocation since start, in all threads.
size_t probe_allocations(void);

/// Reads `count` floats once; returns their sum so that the reads happen.
float probe_read(const float *floats, size_t count);

/// Runs `rounds` rounds of 12 independent 16-wide multiply-adds with the widest registers of this machine.
/// Returns the floating-point operations done.
double probe_multiply_add(size_t rounds);
