// What the kernels need from outside, read before an instruction set is chosen.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "CKernels.h"
