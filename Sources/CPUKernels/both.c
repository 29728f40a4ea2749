// Two ops as one.

#include "cpu_kernels.h"

void cpu_both(const void *raw, ptrdiff_t begin, ptrdiff_t end) {
    const cpu_both_args *a = raw;
    const ptrdiff_t items = a->first_items + a->second_items;
    // How many items before the range, and before its end, are the first op's: of 6 + 2 items the range 4 ..< 8 has 3 ..< 6 of
    // the first and 1 ..< 2 of the second.
    const ptrdiff_t first = begin * a->first_items / items, last = end * a->first_items / items;
    const bool second_begins = __atomic_fetch_add(a->turn, 1, __ATOMIC_RELAXED) & 1;
    if (second_begins && end - last > begin - first) a->second(a->second_args, begin - first, end - last);
    if (last > first) a->first(a->first_args, first, last);
    if (!second_begins && end - last > begin - first) a->second(a->second_args, begin - first, end - last);
}
