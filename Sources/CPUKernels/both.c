// Two ops as one.

#include "cpu_kernels.h"

// One op's items in a share.
typedef struct {
    cpu_kernel run;
    const void *args;
    ptrdiff_t begin, count;
} part;

void cpu_both(const void *raw, ptrdiff_t begin, ptrdiff_t end) {
    const cpu_both_args *a = raw;
    const ptrdiff_t items = a->first_items + a->second_items;
    for (ptrdiff_t share = begin * a->shares / items; begin < end; share++) {
        ptrdiff_t place = items * share / a->shares;
        const ptrdiff_t next = items * (share + 1) / a->shares;
        // Of 6 + 2 items in two shares the last, 4 ..< 8, has 3 ..< 6 of the first op and 1 ..< 2 of the second.
        const ptrdiff_t first = place * a->first_items / items, first_end = next * a->first_items / items;
        const part parts[2] = {{a->first, a->first_args, first, first_end - first},
                               {a->second, a->second_args, place - first, next - first_end - (place - first)}};
        // Every other share begins with the second op.
        for (int i = 0; i < 2; i++) {
            const part *its = &parts[(share + i) % 2];
            const ptrdiff_t offset = its->begin - place;
            place += its->count;
            const ptrdiff_t stop = place < end ? place : end;
            if (begin >= stop) continue;
            its->run(its->args, offset + begin, offset + stop);
            begin = stop;
        }
    }
}
