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
