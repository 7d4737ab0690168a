/* Sparse updates: their norms, and their sum into dense vectors. An update holds for each chunk a run of ascending
 * positions and their values; `starts` says where each chunk's run begins. */

/* Lanes in which the squares of a chunk's values are summed. */
#define SQUARE_LANES 8u
#define CHUNKS (THREADS / SQUARE_LANES)

typedef struct {
    const u64 *starts;
    const float *values;
    /* The sum of squares of each chunk. */
    double *sums;
    /* Bits of the largest magnitude of each chunk. */
    u32 *peaks;
    u64 chunks;
} SquaresArguments;

/* Sums of squares: value i of a chunk in lane i mod 8, lanes added pairwise, halves first. A block takes 32 chunks. */
KERNEL(squares, SquaresArguments) {
    ARENA(arena);
    double *sums = (double *)arena;
    u32 *peaks = (u32 *)(sums + THREADS);
    u32 lane = threadIdx.x % SQUARE_LANES, width, peak = 0;
    u64 chunk = (u64)blockIdx.x * CHUNKS + threadIdx.x / SQUARE_LANES, place;
    double sum = 0.0;
    if (chunk < a.chunks) {
        for (place = a.starts[chunk] + lane; place < a.starts[chunk + 1]; place += SQUARE_LANES) {
            double value = (double)a.values[place];
            u32 key = key_of(a.values[place]);
            sum += value * value;
            peak = key > peak ? key : peak;
        }
    }
    sums[threadIdx.x] = sum;
    peaks[threadIdx.x] = peak;
    for (width = SQUARE_LANES / 2; width > 0; width /= 2) {
        __syncthreads();
        if (lane < width) {
            sums[threadIdx.x] += sums[threadIdx.x + width];
            peak = peaks[threadIdx.x + width];
            peaks[threadIdx.x] = peak > peaks[threadIdx.x] ? peak : peaks[threadIdx.x];
        }
    }
    if (lane == 0 && chunk < a.chunks) {
        a.sums[chunk] = sums[threadIdx.x];
        a.peaks[chunk] = peaks[threadIdx.x];
    }
}

typedef struct {
    const double *sums;
    const u32 *peaks;
    /* Where the chunks of each tensor begin, and the end of the last. */
    const u64 *firsts;
    double *norms;
    u32 *largest;
} NormsArguments;

/* The norm of each tensor: its chunks' sums in their order. One block for each tensor; one thread adds while all read
 * ahead, since the order is part of the result. */
KERNEL(norms, NormsArguments) {
    ARENA(arena);
    double *tile = (double *)arena;
    u32 *peak = (u32 *)(tile + THREADS);
    u64 first = a.firsts[blockIdx.x], end = a.firsts[blockIdx.x + 1], base;
    double sum = 0.0;
    u32 place;
    if (threadIdx.x == 0) {
        *peak = 0;
    }
    __syncthreads();
    for (base = first; base < end; base += THREADS) {
        u32 count = (u32)(end - base < THREADS ? end - base : THREADS);
        if (threadIdx.x < count) {
            tile[threadIdx.x] = a.sums[base + threadIdx.x];
            atomicMax(peak, a.peaks[base + threadIdx.x]);
        }
        __syncthreads();
        if (threadIdx.x == 0) {
            for (place = 0; place < count; place += 1) {
                sum += tile[place];
            }
        }
        __syncthreads();
    }
    if (threadIdx.x == 0) {
        a.norms[blockIdx.x] = sqrt(sum);
        a.largest[blockIdx.x] = *peak;
    }
}

typedef struct {
    float *dense;
    const u64 *starts;
    const u16 *indices;
    const float *values;
    const Tensor *tensors;
    u64 count, scale;
} ScatterArguments;

/* dense += scale * update, for some tensors; one block for each chunk. */
KERNEL(scatter, ScatterArguments) {
    Chunk chunk = chunk_of(a.tensors[tensor_here(a.tensors, a.count)]);
    float scale = number_of(a.scale);
    u64 place, end = a.starts[chunk.number + 1];
    for (place = a.starts[chunk.number] + threadIdx.x; place < end; place += THREADS) {
        u32 index = a.indices[place];
        if (index < chunk.length) {
            float *slot = &a.dense[position_of(chunk, index)];
            *slot = *slot + scale * a.values[place];
        }
    }
}
