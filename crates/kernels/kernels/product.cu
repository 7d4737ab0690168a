/* Matrix products where no library makes them: tiles in shared memory, sums in f32 and in a fixed order. Plain
 * multiplications and additions, no tensor cores: on a device cuBLASLt is many times faster for bf16. */

/* Rows and columns of a tile of the output, and how much of the depth is there at a time. */
#define TILE 64u
#define DEEP 16u

/* A factor's element (row, column) lies at `row * down + column * across`; one of the two is 1. */
typedef struct {
    const void *numbers;
    u64 down, across;
} Factor;

typedef struct {
    Factor left, right;
    /* Added to the product, or null; it may be the output itself. */
    const void *sum;
    void *out;
    u64 rows, columns, depth, narrow, narrow_out;
} ProductArguments;

/* Brings a tile to shared memory, [depth, line]: lines are rows of the left factor and columns of the right one, `line`
 * and `deep` are the distances of one to the next. */
DEVICE void take_lines(float *tile, const void *numbers, u64 narrow, u64 line, u64 deep, u32 lines, u32 depth) {
    u32 round;
    for (round = 0; round < TILE * DEEP / THREADS; round += 1) {
        u32 at = round * THREADS + threadIdx.x;
        /* Neighbouring threads take neighbours in memory. */
        u32 place = deep == 1 ? at / DEEP : at % TILE, step = deep == 1 ? at % DEEP : at / TILE;
        tile[step * (TILE + 1) + place] =
            place < lines && step < depth ? element(numbers, place * line + step * deep, narrow) : 0.0f;
    }
}

DEVICE const void *moved(const void *numbers, u64 by, u64 narrow) {
    return (const u8 *)numbers + by * (narrow ? 2 : 4);
}

/* out = left * right, or that and a sum; one block for each tile of the output. */
KERNEL(product, ProductArguments) {
    ARENA(arena);
    float *left = (float *)arena, *right = left + DEEP * (TILE + 1), sums[16];
    u32 across = (u32)((a.columns + TILE - 1) / TILE), i, j, step;
    u64 top = (u64)(blockIdx.x / across) * TILE, begin = (u64)(blockIdx.x % across) * TILE, deep;
    u32 lines = a.rows - top < TILE ? (u32)(a.rows - top) : TILE;
    u32 places = a.columns - begin < TILE ? (u32)(a.columns - begin) : TILE;
#pragma unroll
    for (i = 0; i < 16; i += 1) {
        sums[i] = 0.0f;
    }
    for (deep = 0; deep < a.depth; deep += DEEP) {
        u32 depth = a.depth - deep < DEEP ? (u32)(a.depth - deep) : DEEP;
        const void *tops = moved(a.left.numbers, top * a.left.down + deep * a.left.across, a.narrow);
        const void *sides = moved(a.right.numbers, deep * a.right.down + begin * a.right.across, a.narrow);
        take_lines(left, tops, a.narrow, a.left.down, a.left.across, lines, depth);
        take_lines(right, sides, a.narrow, a.right.across, a.right.down, places, depth);
        __syncthreads();
        for (step = 0; step < DEEP; step += 1) {
            float one[4], other[4];
#pragma unroll
            for (i = 0; i < 4; i += 1) {
                one[i] = left[step * (TILE + 1) + threadIdx.x / 16 + 16 * i];
                other[i] = right[step * (TILE + 1) + threadIdx.x % 16 + 16 * i];
            }
#pragma unroll
            for (i = 0; i < 4; i += 1) {
#pragma unroll
                for (j = 0; j < 4; j += 1) {
                    sums[i * 4 + j] = fmaf(one[i], other[j], sums[i * 4 + j]);
                }
            }
        }
        __syncthreads();
    }
#pragma unroll
    for (i = 0; i < 4; i += 1) {
#pragma unroll
        for (j = 0; j < 4; j += 1) {
            u64 row = top + threadIdx.x / 16 + 16 * i, column = begin + threadIdx.x % 16 + 16 * j;
            if (row < a.rows && column < a.columns) {
                u64 place = row * a.columns + column;
                float sum = a.sum ? element(a.sum, place, a.narrow_out) : 0.0f;
                put(a.out, place, a.narrow_out, sum + sums[i * 4 + j]);
            }
        }
    }
}
