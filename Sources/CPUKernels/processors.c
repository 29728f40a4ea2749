// The CPUs that a thread may run on.
#define _GNU_SOURCE
#include "cpu_kernels.h"

#if defined(__linux__)
#include <sched.h>

enum { bits_per_word = 8 * sizeof(unsigned long) };

ptrdiff_t cpu_allowed(int32_t *numbers, ptrdiff_t capacity) {
    unsigned long set[CPU_MOST_PROCESSORS / bits_per_word] = {0};
    if (sched_getaffinity(0, sizeof set, (cpu_set_t *)set) < 0) return 0;
    ptrdiff_t count = 0;
    for (int32_t number = 0; number < CPU_MOST_PROCESSORS && count < capacity; number++)
        if (set[number / bits_per_word] >> number % bits_per_word & 1) numbers[count++] = number;
    return count;
}

void cpu_pin(int32_t number) {
    unsigned long set[CPU_MOST_PROCESSORS / bits_per_word] = {0};
    if (number < 0 || number >= CPU_MOST_PROCESSORS) return;
    set[number / bits_per_word] |= 1ul << number % bits_per_word;
    sched_setaffinity(0, sizeof set, (cpu_set_t *)set);
}
#else
ptrdiff_t cpu_allowed(int32_t *numbers, ptrdiff_t capacity) {
    (void)numbers, (void)capacity;
    return 0;
}

void cpu_pin(int32_t number) { (void)number; }
#endif
