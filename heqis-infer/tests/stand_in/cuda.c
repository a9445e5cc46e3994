/* A stand-in for NVIDIA's driver: the functions and codes that are used, with memory of the CPU. FAIL names a function
 * that returns CODE. A context must be current on the calling thread, as the driver demands. */
#include "stream.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifndef FAIL
#define FAIL ""
#define CODE 0
#endif
#define STEP                                                                                                           \
    if (strcmp(FAIL, __func__) == 0) return CODE
#define CURRENT                                                                                                        \
    if (!current) return 201

static long live;
static __thread void *current;

long standin_live(void) { return live; }

int cuInit(unsigned flags) {
    STEP;
    return flags ? 1 : 0;
}

int cuGetErrorName(int code, const char **name) {
    *name = code == 100 ? "CUDA_ERROR_NO_DEVICE" : code == 201 ? "CUDA_ERROR_INVALID_CONTEXT" : code == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : 0;
    return *name ? 0 : 1;
}

int cuDeviceGet(int *device, int ordinal) {
    STEP;
    *device = ordinal + 7;
    return 0;
}

int cuDeviceGetName(char *name, int length, int device) {
    STEP;
    if (device != 7 || length < 16) return 101;
    strcpy(name, "Stand-in GPU");
    return 0;
}

int cuDevicePrimaryCtxRetain(void **context, int device) {
    STEP;
    if (device != 7) return 101;
    *context = &live;
    live++;
    return 0;
}

int cuDevicePrimaryCtxRelease(int device) {
    if (device != 7) return 101;
    live--;
    return 0;
}

int cuCtxSetCurrent(void *context) {
    STEP;
    if (context != &live) return 201;
    current = context;
    return 0;
}

int cuStreamCreate(struct CUstream_st **stream, unsigned flags) {
    STEP;
    CURRENT;
    if (flags != 1) return 1;
    *stream = calloc(1, sizeof **stream);
    live++;
    return 0;
}

int cuStreamDestroy_v2(struct CUstream_st *stream) {
    free(stream);
    live--;
    return 0;
}

int cuStreamSynchronize(struct CUstream_st *stream) {
    STEP;
    CURRENT;
    if (stream->job) stream->job(stream->argument);
    stream->job = 0;
    return 0;
}

int cuMemHostAlloc(void **host, size_t bytes, unsigned flags) {
    STEP;
    CURRENT;
    if (flags != 2) return 1;
    *host = malloc(bytes);
    memset(*host, 0xAA, bytes);
    live++;
    return 0;
}

int cuMemHostGetDevicePointer_v2(uint64_t *device, void *host, unsigned flags) {
    STEP;
    CURRENT;
    if (flags) return 1;
    *device = (uintptr_t)host + DEVICE_OFFSET;
    return 0;
}

int cuMemFreeHost(void *host) {
    free(host);
    live--;
    return 0;
}
