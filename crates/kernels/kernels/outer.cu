/* The outer step of some tensors: theta -= rate * (sum of coefficient * value over the peers, in their order) / divisor.
 * One block for each chunk; sums stay in shared memory, so that the parameters are read and written once and nothing
 * dense is kept for any peer. */

/* Peers whose runs are read ahead together. */
#define BATCH 32u

typedef struct {
    const u64 *starts;
    const u16 *indices;
    const float *values;
    u64 weight;
} Peer;

typedef struct {
    float *theta;
    const Peer *peers;
    /* For each tensor one for each peer: its weight times its clip there. */
    const float *coefficients;
    const Tensor *tensors;
    u64 count, tensor_count, rate, total;
    /* Whether the sum is divided by the weights of those who sent a coordinate, instead of by the total. */
    u64 contributors;
    /* Values that are read ahead, at least those of the longest run. */
    u64 stage;
} OuterArguments;

typedef struct {
    u64 begin[BATCH];
    u32 size[BATCH];
} Runs;

/* How many peers from `first` on fit the stage together; at least one. */
DEVICE u32 batch_of(const Runs *runs, u32 peers, u64 stage) {
    u32 used = runs->size[0], taken = 1;
    while (taken < least_of(peers, BATCH) && used + runs->size[taken] <= stage) {
        used += runs->size[taken];
        taken += 1;
    }
    return taken;
}

/* Reads the runs of a batch ahead, a warp for each peer, so that many reads are under way at once. */
DEVICE void stage_runs(const Peer *peers, const float *coefficients, const Runs *runs, u32 taken, u16 *indices,
                       float *values) {
    u32 peer, place, offset = 0;
    for (peer = 0; peer < taken; peer += 1) {
        if (peer % WARPS == threadIdx.x / LANES) {
            const Peer *source = &peers[peer];
            float coefficient = coefficients[peer];
            for (place = threadIdx.x % LANES; place < runs->size[peer]; place += LANES) {
                indices[offset + place] = source->indices[runs->begin[peer] + place];
                values[offset + place] = coefficient * source->values[runs->begin[peer] + place];
            }
        }
        offset += runs->size[peer];
    }
}

/* Takes the sums off the parameters, divided by the weights where there are any. */
DEVICE void step(const OuterArguments *a, Chunk chunk, const float *sums, const float *weights) {
    float rate = number_of(a->rate), total = number_of(a->total), theta[AHEAD];
    u64 positions[AHEAD];
    u32 ahead, first;
    Walk walk;
    if (threadIdx.x >= chunk.length) {
        return;
    }
    for (walk = walk_from(chunk, threadIdx.x, THREADS); walk.index < chunk.length;) {
        first = walk.index;
#pragma unroll
        for (ahead = 0; ahead < AHEAD; ahead += 1) {
            if (walk.index < chunk.length) {
                positions[ahead] = walk.position;
                theta[ahead] = a->theta[walk.position];
                walk_on(&walk, chunk);
            }
        }
#pragma unroll
        for (ahead = 0; ahead < AHEAD; ahead += 1) {
            u32 index = first + ahead * THREADS;
            if (index < chunk.length) {
                float divisor = total;
                if (weights) {
                    divisor = weights[index] > 0.0f ? weights[index] : 1.0f;
                }
                a->theta[positions[ahead]] = theta[ahead] - rate * (sums[index] / divisor);
            }
        }
    }
}

/* Shared memory: bounds of runs, sums, weights if contributors count, values and positions that are read ahead. */
KERNEL(outer, OuterArguments) {
    ARENA(arena);
    u32 number = tensor_here(a.tensors, a.tensor_count);
    Chunk chunk = chunk_of(a.tensors[number]);
    const float *coefficients = a.coefficients + number * a.count;
    u32 peers = (u32)a.count, first, taken, peer, place, offset;
    Runs *runs = (Runs *)arena;
    float *sums = (float *)(runs + 1);
    float *weights = sums + chunk.length;
    float *values = a.contributors ? weights + chunk.length : weights;
    u16 *indices = (u16 *)(values + a.stage);

    for (place = threadIdx.x; place < chunk.length; place += THREADS) {
        sums[place] = 0.0f;
        if (a.contributors) {
            weights[place] = 0.0f;
        }
    }
    for (first = 0; first < peers; first += taken) {
        __syncthreads();
        if (threadIdx.x < least_of(peers - first, BATCH)) {
            const u64 *starts = a.peers[first + threadIdx.x].starts + chunk.number;
            runs->begin[threadIdx.x] = starts[0];
            runs->size[threadIdx.x] = (u32)(starts[1] - starts[0]);
        }
        __syncthreads();
        taken = batch_of(runs, peers - first, a.stage);
        stage_runs(a.peers + first, coefficients + first, runs, taken, indices, values);
        for (peer = 0, offset = 0; peer < taken; peer += 1) {
            float weight = number_of(a.peers[first + peer].weight);
            /* A peer's positions are distinct, but the next peer may have the same ones. */
            __syncthreads();
            for (place = threadIdx.x; place < runs->size[peer]; place += THREADS) {
                u32 index = indices[offset + place];
                if (index < chunk.length) {
                    sums[index] += values[offset + place];
                    if (a.contributors) {
                        weights[index] += weight;
                    }
                }
            }
            offset += runs->size[peer];
        }
    }
    __syncthreads();
    step(&a, chunk, sums, a.contributors ? weights : 0);
}
