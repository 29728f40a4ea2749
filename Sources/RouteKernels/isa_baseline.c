// The gate for what every machine of the architecture has.

#define ROUTE_GATE route_gate_baseline
#include "gate.h"
