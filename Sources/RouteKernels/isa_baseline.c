// The kernels for what every machine of the architecture has.

#define KERNELS route_kernels_baseline
#include "all.h"
