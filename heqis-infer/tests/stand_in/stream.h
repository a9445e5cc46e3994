/* What the stand-ins for TensorRT and for the driver share: a stream is one job, done when it is waited for. */
#pragma once
struct CUstream_st {
    void (*job)(void *);
    void *argument;
};
/* Device addresses are not host addresses: mixing them up fails. */
#define DEVICE_OFFSET 0x100000000000ULL
