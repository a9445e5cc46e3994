#define NV_TENSORRT_MAJOR 10
#include "../interface.h"
