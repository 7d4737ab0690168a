/* What a C compiler needs to compile the kernel sources for the processor. Every thread of a block is a fibre; a fibre
 * runs until it waits for others. Which one runs next is up to a seed, so that a missing barrier shows as a result that
 * depends on it. */

#define EMULATION
#include <math.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define DEVICE static inline __attribute__((unused))
#define KERNEL(name, Arguments)                                                                                        \
    static void name(const Arguments a);                                                                               \
    static void name##_entry(const void *words) {                                                                      \
        Arguments arguments;                                                                                           \
        memcpy(&arguments, words, sizeof arguments);                                                                   \
        name(arguments);                                                                                               \
    }                                                                                                                  \
    static const unsigned long name##_bytes = sizeof(Arguments);                                                       \
    static void name(const Arguments a)
#define ARENA(name) unsigned long long *name = emulated_arena

static struct {
    unsigned x;
} threadIdx, blockIdx;

static unsigned long long *emulated_arena;

/* Waits for the whole block and returns for how many threads `yes` was set. */
static unsigned emulated_block(unsigned yes);
/* Waits for the warp and returns what each of its lanes brought; lanes that have ended bring zero. */
static const unsigned *emulated_warp(unsigned value);

static inline __attribute__((unused)) void __syncthreads(void) {
    emulated_block(0);
}

static inline __attribute__((unused)) int __syncthreads_count(int yes) {
    return (int)emulated_block(yes != 0);
}

static inline __attribute__((unused)) unsigned __ballot_sync(unsigned mask, int yes) {
    const unsigned *lanes = emulated_warp(yes != 0);
    unsigned lane, ballot = 0;
    for (lane = 0; lane < 32; lane += 1) {
        ballot |= lanes[lane] << lane;
    }
    return ballot & mask;
}

static inline __attribute__((unused)) unsigned __shfl_sync(unsigned mask, unsigned value, int lane) {
    (void)mask;
    return emulated_warp(value)[lane & 31];
}

static inline __attribute__((unused)) unsigned __shfl_down_sync(unsigned mask, unsigned value, unsigned by, int width) {
    unsigned lane = threadIdx.x % 32, from = lane + by;
    (void)mask;
    return emulated_warp(value)[lane / (unsigned)width == from / (unsigned)width ? from : lane];
}

static inline __attribute__((unused)) unsigned __shfl_xor_sync(unsigned mask, unsigned value, int by) {
    (void)mask;
    return emulated_warp(value)[threadIdx.x % 32 ^ (unsigned)by];
}

static inline __attribute__((unused)) int __popc(unsigned bits) {
    return __builtin_popcount(bits);
}

static inline __attribute__((unused)) float __uint_as_float(unsigned bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline __attribute__((unused)) unsigned __float_as_uint(float value) {
    unsigned bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* sum += left * right on tensor cores, 16 x 16 by 16 x 8, with the fragments that NVIDIA's PTX ISA gives for m16n8k16: of every
 * factor each lane brings pairs of 16-bit numbers, which the warp exchanges here one by one. */
static inline __attribute__((unused)) void multiply_add(float *sum, const unsigned *left, const unsigned *right) {
    unsigned parts[6][32], lane = threadIdx.x % 32, part, place, deep;
    for (part = 0; part < 6; part += 1) {
        memcpy(parts[part], emulated_warp(part < 4 ? left[part] : right[part - 4]), sizeof parts[part]);
    }
    for (place = 0; place < 4; place += 1) {
        unsigned row = lane / 4 + 8 * (place / 2), column = lane % 4 * 2 + place % 2;
        for (deep = 0; deep < 16; deep += 1) {
            unsigned a = parts[row / 8 + 2 * (deep / 8)][row % 8 * 4 + deep % 8 / 2];
            unsigned b = parts[4 + deep / 8][column * 4 + deep % 8 / 2];
            sum[place] += __uint_as_float((a >> deep % 2 * 16) << 16) * __uint_as_float((b >> deep % 2 * 16) << 16);
        }
    }
}

/* What the instruction ldmatrix brings of two transposed squares of 8 x 8: lanes 0 to 15 say where their rows begin. */
static inline __attribute__((unused)) void turned_squares(unsigned *right, const unsigned short *row) {
    unsigned lane = threadIdx.x % 32, half;
    const unsigned *low = emulated_warp((unsigned)(uintptr_t)row);
    for (half = 0; half < 2; half += 1) {
        /* All rows lie in one arena, so that the lower bits of their addresses tell how far one is from another. */
        const unsigned short *one = row + (int)(low[8 * half + lane % 4 * 2] - (unsigned)(uintptr_t)row) / 2;
        const unsigned short *other = row + (int)(low[8 * half + lane % 4 * 2 + 1] - (unsigned)(uintptr_t)row) / 2;
        right[half] = one[lane / 4] | (unsigned)other[lane / 4] << 16;
    }
}

#define quick_exp expf

/* Fibres change only where they wait, so plain operations are atomic. */
#define atomicAdd(address, value) emulated_add((address), sizeof *(address), (value))

static inline __attribute__((unused)) unsigned long long emulated_add(void *address, size_t bytes, unsigned long long by) {
    unsigned long long old = 0, sum;
    memcpy(&old, address, bytes);
    sum = old + by;
    memcpy(address, &sum, bytes);
    return old;
}

static inline __attribute__((unused)) unsigned atomicMax(unsigned *address, unsigned value) {
    unsigned old = *address;
    *address = value > old ? value : old;
    return old;
}

typedef struct {
    const char *name;
    void (*entry)(const void *words);
    unsigned long bytes;
} Kernel;

#define ENTRY(name) {#name, name##_entry, name##_bytes}
