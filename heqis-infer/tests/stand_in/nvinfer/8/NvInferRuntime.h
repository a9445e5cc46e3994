#define NV_TENSORRT_MAJOR 8
#include "../interface.h"
