// The header alone; this file lets the package manager see a C target.
#include "switchyard_experts.h"
