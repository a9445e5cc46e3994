/* A stand-in for Rockchip's runtime: the functions, structures and codes of its interface 2.x, on the CPU.
 *
 * It says nothing of the silicon. It proves the loader, the order of calls, the layouts and the error paths. A "model"
 * is a text of lines:
 *
 *   tensor in|out NAME FORMAT NDIMS D.. NATIVE_FORMAT NDIMS D.. TYPE SCALE ZERO_POINT WIDTH_STRIDE BYTES
 *   fail CALL CODE         the call returns the code
 *   fail_run N CODE        the Nth run returns the code
 *   short_mem              memory is one byte too small
 *
 * It computes out[k] = k + sum over all inputs and elements of (j + 1) * in[j], in the model's row-major order, and adds
 * 1000 times the core mask. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NCHW, NHWC, NC1HWC2, UNDEFINED };
enum { F32 = 0, F16 = 1, I8 = 2, U8 = 3 };

typedef struct {
    uint32_t index, n_dims, dims[16];
    char name[256];
    uint32_t n_elems, size;
    int fmt, type, qnt_type;
    int8_t fl;
    int32_t zp;
    float scale;
    uint32_t w_stride, size_with_stride;
    uint8_t pass_through;
    uint32_t h_stride;
} attr_t;

typedef struct {
    void *virt;
    uint64_t phys;
    int32_t fd, offset;
    uint32_t size, flags;
    void *priv;
} mem_t;

typedef struct {
    attr_t model, native;
    mem_t *bound;
    int synced;
} tensor_t;

typedef struct {
    tensor_t in[4], out[4];
    uint32_t n_in, n_out;
    char fail[64];
    int fail_code, fail_run, fail_run_code, short_mem;
    long runs;
    unsigned cores;
} context_t;

static long live_contexts, live_memory;

long standin_live(void) { return live_contexts + live_memory; }

static int fails(const context_t *c, const char *call) { return strcmp(c->fail, call) == 0 ? c->fail_code : 0; }

int rknn_init(uint64_t *context, void *model, uint32_t size, uint32_t flag, void *extend) {
    (void)flag;
    (void)extend;
    char *text = calloc(size + 1, 1);
    memcpy(text, model, size);
    if (strncmp(text, "STANDIN\n", 8) != 0) {
        free(text);
        return -6;
    }
    context_t *c = calloc(1, sizeof *c);
    for (char *save, *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char side[8], name[256];
        int at = 0, step;
        if (sscanf(line, "fail_run %d %d", &c->fail_run, &c->fail_run_code) == 2) continue;
        if (sscanf(line, "fail %63s %d", c->fail, &c->fail_code) == 2) continue;
        if (strcmp(line, "short_mem") == 0) {
            c->short_mem = 1;
            continue;
        }
        if (sscanf(line, "tensor %7s %255s%n", side, name, &at) < 2) continue;
        tensor_t *t = strcmp(side, "in") == 0 ? &c->in[c->n_in++] : &c->out[c->n_out++];
        attr_t *both[2] = {&t->model, &t->native};
        for (int k = 0; k < 2; k++) {
            attr_t *a = both[k];
            strcpy(a->name, name);
            sscanf(line + at, "%d %u%n", &a->fmt, &a->n_dims, &step);
            at += step;
            a->n_elems = 1;
            for (uint32_t d = 0; d < a->n_dims; d++) {
                sscanf(line + at, "%u%n", &a->dims[d], &step);
                at += step;
                a->n_elems *= a->dims[d];
            }
        }
        attr_t *n = &t->native;
        sscanf(line + at, "%d %f %d %u %u", &n->type, &n->scale, &n->zp, &n->w_stride, &n->size);
        n->size_with_stride = n->size;
        n->qnt_type = n->type == I8 || n->type == U8 ? 2 : 0;
    }
    free(text);
    if (fails(c, "init")) {
        int code = c->fail_code;
        free(c);
        return code;
    }
    live_contexts++;
    *context = (uint64_t)(uintptr_t)c;
    return 0;
}

int rknn_destroy(uint64_t context) {
    free((context_t *)(uintptr_t)context);
    live_contexts--;
    return 0;
}

int rknn_query(uint64_t context, unsigned cmd, void *info, uint32_t size) {
    context_t *c = (context_t *)(uintptr_t)context;
    char call[32];
    snprintf(call, sizeof call, "query_%u", cmd);
    if (fails(c, call)) return c->fail_code;
    if (cmd == 0 && size == 8) {
        ((uint32_t *)info)[0] = c->n_in;
        ((uint32_t *)info)[1] = c->n_out;
        return 0;
    }
    if (cmd == 5 && size == 512) {
        strcpy(info, "2.3.2 (stand-in)");
        strcpy((char *)info + 256, "0.9.8");
        return 0;
    }
    attr_t *a = info;
    if (size != sizeof(attr_t)) return -5;
    uint32_t i = a->index;
    if ((cmd == 1 || cmd == 8) && i < c->n_in) *a = cmd == 1 ? c->in[i].model : c->in[i].native;
    else if ((cmd == 2 || cmd == 9) && i < c->n_out) *a = cmd == 2 ? c->out[i].model : c->out[i].native;
    else return -5;
    a->index = i;
    return 0;
}

mem_t *rknn_create_mem(uint64_t context, uint32_t size) {
    context_t *c = (context_t *)(uintptr_t)context;
    if (fails(c, "create_mem")) return NULL;
    mem_t *m = calloc(1, sizeof *m);
    m->virt = malloc(size);
    memset(m->virt, 0xAA, size);
    m->size = size - (c->short_mem ? 1 : 0);
    live_memory++;
    return m;
}

int rknn_destroy_mem(uint64_t context, mem_t *m) {
    (void)context;
    free(m->virt);
    free(m);
    live_memory--;
    return 0;
}

int rknn_set_io_mem(uint64_t context, mem_t *m, attr_t *a) {
    context_t *c = (context_t *)(uintptr_t)context;
    if (fails(c, "set_io_mem")) return c->fail_code;
    if (a->pass_through != 1) return -5;
    for (uint32_t i = 0; i < c->n_in; i++)
        if (strcmp(c->in[i].native.name, a->name) == 0) c->in[i].bound = m;
    for (uint32_t i = 0; i < c->n_out; i++)
        if (strcmp(c->out[i].native.name, a->name) == 0) c->out[i].bound = m;
    return 0;
}

int rknn_mem_sync(uint64_t context, mem_t *m, unsigned mode) {
    context_t *c = (context_t *)(uintptr_t)context;
    if (fails(c, mode == 1 ? "sync_to" : "sync_from")) return c->fail_code;
    for (uint32_t i = 0; i < c->n_in; i++)
        if (c->in[i].bound == m && mode == 1) c->in[i].synced = 1;
    return 0;
}

int rknn_set_core_mask(uint64_t context, unsigned mask) {
    context_t *c = (context_t *)(uintptr_t)context;
    if (fails(c, "set_core_mask")) return c->fail_code;
    c->cores = mask;
    return 0;
}

static float half_to_float(uint16_t h) {
    int sign = h >> 15, exponent = h >> 10 & 31, mantissa = h & 1023;
    float value = exponent == 0 ? ldexpf((float)mantissa, -24) : ldexpf((float)(mantissa + 1024), exponent - 25);
    return sign ? -value : value;
}

/* Exact for the integers that the tests use. */
static uint16_t float_to_half(float f) {
    uint16_t sign = f < 0 ? 0x8000 : 0;
    int exponent;
    float mantissa = frexpf(fabsf(f), &exponent);
    if (mantissa == 0) return sign;
    return (uint16_t)(sign | (exponent + 14) << 10 | ((int)ldexpf(mantissa, 11) & 1023));
}

/* Position of element j, counted in the model's N, C, H, W order. */
static size_t place(const tensor_t *t, size_t j) {
    const attr_t *m = &t->model, *n = &t->native;
    size_t d[4] = {1, 1, 1, 1};
    if (m->fmt == NHWC) d[0] = m->dims[0], d[1] = m->dims[3], d[2] = m->dims[1], d[3] = m->dims[2];
    else if (m->n_dims == 4) for (int k = 0; k < 4; k++) d[k] = m->dims[k];
    else return j;
    size_t w = j % d[3], h = j / d[3] % d[2], c = j / d[3] / d[2] % d[1], b = j / d[3] / d[2] / d[1];
    size_t stride = n->w_stride ? n->w_stride : d[3];
    if (n->fmt == NHWC) return ((b * d[2] + h) * stride + w) * d[1] + c;
    if (n->fmt == NC1HWC2) {
        size_t c1 = n->dims[1], c2 = n->dims[4];
        return (((b * c1 + c / c2) * d[2] + h) * stride + w) * c2 + c % c2;
    }
    return j;
}

int rknn_run(uint64_t context, void *extend) {
    context_t *c = (context_t *)(uintptr_t)context;
    (void)extend;
    c->runs++;
    if (fails(c, "run")) return c->fail_code;
    if (c->fail_run == c->runs) return c->fail_run_code;
    float sum = 1000.0f * (float)c->cores;
    for (uint32_t i = 0; i < c->n_in; i++) {
        tensor_t *t = &c->in[i];
        if (!t->bound || !t->synced) return -8;
        t->synced = 0;
        for (size_t j = 0; j < t->model.n_elems; j++) {
            size_t at = place(t, j);
            float v = 0;
            switch (t->native.type) {
            case F32: v = ((float *)t->bound->virt)[at]; break;
            case F16: v = half_to_float(((uint16_t *)t->bound->virt)[at]); break;
            case I8: v = (float)(((int8_t *)t->bound->virt)[at] - t->native.zp) * t->native.scale; break;
            case U8: v = (float)(((uint8_t *)t->bound->virt)[at] - t->native.zp) * t->native.scale; break;
            }
            sum += (float)(j + 1) * v;
        }
    }
    for (uint32_t i = 0; i < c->n_out; i++) {
        tensor_t *t = &c->out[i];
        if (!t->bound) return -9;
        for (size_t k = 0; k < t->model.n_elems; k++) {
            size_t at = place(t, k);
            float v = sum + (float)k;
            switch (t->native.type) {
            case F32: ((float *)t->bound->virt)[at] = v; break;
            case F16: ((uint16_t *)t->bound->virt)[at] = float_to_half(v); break;
            case I8: ((int8_t *)t->bound->virt)[at] = (int8_t)(v / t->native.scale + (float)t->native.zp); break;
            case U8: ((uint8_t *)t->bound->virt)[at] = (uint8_t)(v / t->native.scale + (float)t->native.zp); break;
            }
        }
    }
    return 0;
}
