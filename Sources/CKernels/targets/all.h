// Everything that is compiled once for each instruction set; CK(name) gives the name its suffix.
#include "../vector.h"
#include "../formats.h"
#include "../product.h"
#include "../attention.h"
#include "../layers.h"
#include "../loss.h"
#include "../optimizer.h"
#include "../measure.h"
