/* What every kernel source begins with: words, places of chunks, and the few operations whose spelling differs between
 * the device's compiler and a C compiler that runs the same sources on the processor (emulation/emulation.h).
 *
 * The sources keep to what C and CUDA C++ have in common. Arithmetic is plain IEEE 754: it is compiled without fusing
 * products into sums, with exact division and square root, and with subnormal numbers. */

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

/* Threads of every block, lanes of a warp, warps of a block. */
#define THREADS 256u
#define LANES 32u
#define WARPS (THREADS / LANES)
#define ALL 0xffffffffu
/* Elements that a thread asks the memory for before it looks at the first. */
#define AHEAD 4u
#define MAGNITUDE 0x7fffffffu

#ifndef EMULATION
#define DEVICE static __device__ __forceinline__
/* One argument, a structure of words of eight bytes; its size is the same for every compiler. */
#define KERNEL(name, Arguments) extern "C" __global__ void __launch_bounds__(THREADS) name(const Arguments a)
/* The block's shared memory; how much there is, the launch says. */
#define ARENA(name) extern __shared__ __attribute__((aligned(16))) u64 name[]
#endif

/* A number that came as a word of eight bytes. */
DEVICE float number_of(u64 word) {
    return __uint_as_float((u32)word);
}

DEVICE u32 key_of(float value) {
    return __float_as_uint(value) & MAGNITUDE;
}

DEVICE u32 least_of(u32 a, u32 b) {
    return a < b ? a : b;
}

/* A length that is cut into parts as evenly as possible: what every part has, and what is left over. */
typedef struct {
    u64 whole, rest, parts;
} Cut;

/* A matrix in a flat vector, row after row, its rows cut into bands and its columns across, which makes chunks: the first
 * block that works on it, where it begins, the number of its first chunk among all, and how long a row is. */
typedef struct {
    u64 block, offset, number, columns;
    Cut down, across;
} Tensor;

/* One chunk: `rows` runs of `width` elements, `stride` apart, the first at `start`. */
typedef struct {
    u64 number, start, stride;
    u32 rows, width, length;
} Chunk;

/* Where part `index` begins. */
DEVICE u64 bound_of(Cut cut, u64 index) {
    u64 bound = cut.whole * index;
    /* Mostly nothing is left over, and a division of long numbers is slow. */
    return cut.rest ? bound + cut.rest * index / cut.parts : bound;
}

/* The chunk of this block, whose tensor begins at or before it; positions are those in the flat vector. */
DEVICE Chunk chunk_of(Tensor tensor) {
    u32 number = blockIdx.x - (u32)tensor.block, across = (u32)tensor.across.parts;
    u32 band = number / across, place = number % across;
    u64 top = bound_of(tensor.down, band), left = bound_of(tensor.across, place);
    Chunk chunk;
    chunk.number = tensor.number + number;
    chunk.start = tensor.offset + top * tensor.columns + left;
    chunk.stride = tensor.columns;
    chunk.rows = (u32)(bound_of(tensor.down, (u64)band + 1) - top);
    chunk.width = (u32)(bound_of(tensor.across, (u64)place + 1) - left);
    chunk.length = chunk.rows * chunk.width;
    return chunk;
}

/* Where element `index` of a chunk lies. */
DEVICE u64 position_of(Chunk chunk, u32 index) {
    return chunk.start + (u64)(index / chunk.width) * chunk.stride + index % chunk.width;
}

/* A walk of one thread over the elements first, first + step, first + 2 step and so on of a chunk: no division on the
 * way. */
typedef struct {
    u32 index, column, over, down;
    u64 position, step;
} Walk;

DEVICE Walk walk_from(Chunk chunk, u32 first, u32 step) {
    Walk walk;
    walk.index = first;
    walk.step = step;
    walk.column = first % chunk.width;
    walk.down = step / chunk.width;
    walk.over = step % chunk.width;
    walk.position = position_of(chunk, first);
    return walk;
}

DEVICE void walk_on(Walk *walk, Chunk chunk) {
    u64 rows = walk->down;
    walk->index += (u32)walk->step;
    walk->column += walk->over;
    walk->position += walk->over;
    if (walk->column >= chunk.width) {
        walk->column -= chunk.width;
        walk->position -= chunk.width;
        rows += 1;
    }
    walk->position += rows * chunk.stride;
}

/* How many threads of the block say yes; all threads must ask. */
DEVICE u32 count_of(u32 yes) {
    return (u32)__syncthreads_count((int)yes);
}

/* Which of some tensors this block works on: the last whose first block is not behind it. All threads must ask. */
DEVICE u32 tensor_here(const Tensor *tensors, u64 count) {
    u32 begun = 0;
    u64 base;
    for (base = 0; base < count; base += THREADS) {
        u64 place = base + threadIdx.x;
        begun += count_of(place < count && tensors[place].block <= blockIdx.x);
    }
    return begun - 1;
}

/* Element `at` of numbers that are bf16 if `narrow`. */
DEVICE float element(const void *from, u64 at, u64 narrow) {
    return narrow ? __uint_as_float((u32)((const u16 *)from)[at] << 16) : ((const float *)from)[at];
}

/* The nearest bf16, of two equally near ones the even; a NaN stays one. */
DEVICE u16 narrowed(float value) {
    u32 bits = __float_as_uint(value);
    if ((bits & MAGNITUDE) > 0x7f800000u) {
        return (u16)(bits >> 16 | 0x40u);
    }
    return (u16)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

DEVICE void put(void *to, u64 at, u64 narrow, float value) {
    if (narrow) {
        ((u16 *)to)[at] = narrowed(value);
    } else {
        ((float *)to)[at] = value;
    }
}

DEVICE float from_below(float value, u32 by) {
    return __uint_as_float(__shfl_down_sync(ALL, __float_as_uint(value), by, LANES));
}

/* --- Attention: a token's row holds its queries, then its keys, then its values, head after head --- */

/* The bits of minus infinity. */
#define NOTHING 0xff800000u

/* Rows of one head: of each token of a sequence `width` numbers, `stride` from one token to the next. */
typedef struct {
    const void *from;
    u64 start, stride, narrow;
    u32 width, length;
} Head;

/* What blocks of attention work on: `group` heads share a head of keys and values. */
typedef struct {
    u64 sequences, length, heads, group, width, narrow;
} Shape;

/* Head number `place` of a token's row of `heads` heads, in one sequence. */
DEVICE Head head_of(const void *from, Shape shape, u64 sequence, u64 heads, u64 place) {
    Head head;
    head.from = from;
    head.stride = heads * shape.width;
    head.start = sequence * shape.length * head.stride + place * shape.width;
    head.narrow = shape.narrow;
    head.width = (u32)shape.width;
    head.length = (u32)shape.length;
    return head;
}

/* Where the number of a token's query head lies in [sequences, heads, length]. */
DEVICE u64 place_of(Shape shape, u64 sequence, u64 head, u64 row) {
    return (sequence * shape.heads + head) * shape.length + row;
}

/* Queries, keys and values, or their gradients, of query head `head`. */
typedef struct {
    Head queries, keys, values;
} Heads;

DEVICE Heads heads_of(const void *fused, Shape shape, u64 sequence, u64 head) {
    u64 pairs = shape.heads / shape.group, all = shape.heads + 2 * pairs, pair = head / shape.group;
    Heads heads;
    heads.queries = head_of(fused, shape, sequence, all, head);
    heads.keys = head_of(fused, shape, sequence, all, shape.heads + pair);
    heads.values = head_of(fused, shape, sequence, all, shape.heads + pairs + pair);
    return heads;
}

typedef struct {
    Shape shape;
    const void *fused;
    /* [tokens, heads, width]. */
    void *mixed;
    /* For each head and token the logarithm of the sum of its weights before they are made shares: see place_of. */
    float *logs;
} AttentionForwardArguments;

typedef struct {
    Shape shape;
    const void *fused;
    /* The gradient by the output, [tokens, heads, width], and of each head and token what forward and pulls left. */
    const void *slope;
    const float *logs, *pulls;
    /* Takes the gradients by queries, keys and values. */
    void *gradient;
} AttentionBackwardArguments;
