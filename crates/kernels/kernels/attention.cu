/* Causal attention with grouped heads (Ainslie et al., arXiv 2305.13245), streamed over tiles of keys, so that no matrix of
 * tokens by tokens is kept (Dao et al., arXiv 2205.14135 and 2307.08691). Every sum runs in f32 in a fixed order: what is
 * summed over queries and what is summed over keys have a kernel each, and nothing is added atomically.
 *
 * Queries come scaled. This is plain arithmetic for every width; tensor.cu is for bf16 and the usual widths. */

/* Rows of a tile, forward and backward; threads are 16 by 16, and each has a place in every 16 rows and 16 columns. */
#define TALL 64u
#define LOW 32u
#define SIDE 16u
/* Columns of a head that a thread has at most: a head is no wider than 256. */
#define OWN 16u

DEVICE u32 pitch_of(u32 width) {
    /* Odd, so that a column's numbers lie in different banks. */
    return width | 1u;
}

/* Brings `count` rows to shared memory, from the token `first` on; those behind the sequence's end are zero. */
DEVICE void take_tile(float *tile, Head head, u32 first, u32 count) {
    u32 pitch = pitch_of(head.width), row, column;
    for (row = threadIdx.x / LANES; row < count; row += WARPS) {
        u64 place = head.start + (u64)(first + row) * head.stride;
        for (column = threadIdx.x % LANES; column < head.width; column += LANES) {
            tile[row * pitch + column] =
                first + row < head.length ? element(head.from, place + column, head.narrow) : 0.0f;
        }
    }
}

/* sums[i][j] = row `down + 16 i` of `a` times row `across + 16 j` of `b`, for i and j below `n`. */
DEVICE void rows_by_rows(float *sums, u32 n, const float *a, const float *b, u32 width) {
    u32 pitch = pitch_of(width), down = threadIdx.x / SIDE, across = threadIdx.x % SIDE, i, j, at;
#pragma unroll
    for (i = 0; i < n * n; i += 1) {
        sums[i] = 0.0f;
    }
    for (at = 0; at < width; at += 1) {
        float left[4], right[4];
#pragma unroll
        for (i = 0; i < n; i += 1) {
            left[i] = a[(down + SIDE * i) * pitch + at];
            right[i] = b[(across + SIDE * i) * pitch + at];
        }
#pragma unroll
        for (i = 0; i < n; i += 1) {
#pragma unroll
            for (j = 0; j < n; j += 1) {
                sums[i * n + j] = fmaf(left[i], right[j], sums[i * n + j]);
            }
        }
    }
}

/* out[i][j] += row `down + 16 i` of a square of `16 n` weights times column `across + 16 j` of `rows`. */
DEVICE void weights_by_rows(float *out, u32 n, const float *weights, const float *rows, u32 width) {
    u32 pitch = pitch_of(width), count = SIDE * n, down = threadIdx.x / SIDE, across = threadIdx.x % SIDE, i, j, at;
    for (at = 0; at < count; at += 1) {
        float left[4];
#pragma unroll
        for (i = 0; i < n; i += 1) {
            left[i] = weights[(down + SIDE * i) * (count + 1) + at];
        }
#pragma unroll
        for (j = 0; j < OWN; j += 1) {
            u32 column = across + SIDE * j;
            if (column < width) {
                float right = rows[at * pitch + column];
#pragma unroll
                for (i = 0; i < n; i += 1) {
                    out[i * OWN + j] = fmaf(left[i], right, out[i * OWN + j]);
                }
            }
        }
    }
}

/* The sum, or the largest, of what the 16 threads of a row bring. */
DEVICE float over_row(float value, u32 largest) {
    u32 by;
    for (by = SIDE / 2; by > 0; by /= 2) {
        float other = __uint_as_float(__shfl_xor_sync(ALL, __float_as_uint(value), (int)by));
        value = !largest ? value + other : other > value ? other : value;
    }
    return value;
}

/* Writes a thread's numbers of a tile, each times a factor of its row, to where the rows lie. */
DEVICE void leave_tile(void *to, Head head, u32 first, u32 n, const float *out, const float *factors) {
    u32 down = threadIdx.x / SIDE, across = threadIdx.x % SIDE, i, j;
#pragma unroll
    for (i = 0; i < n; i += 1) {
        u32 row = first + down + SIDE * i;
        u64 place = head.start + (u64)row * head.stride;
#pragma unroll
        for (j = 0; j < OWN; j += 1) {
            u32 column = across + SIDE * j;
            if (row < head.length && column < head.width) {
                put(to, place + column, head.narrow, out[i * OWN + j] * factors[i]);
            }
        }
    }
}

/* One block for each tile of queries of a head; those with most keys come first. */
KERNEL(attention_forward, AttentionForwardArguments) {
    ARENA(arena);
    u32 each = (u32)(a.shape.sequences * a.shape.heads), tiles = ((u32)a.shape.length + TALL - 1) / TALL;
    u32 width = (u32)a.shape.width, down = threadIdx.x / SIDE, across = threadIdx.x % SIDE;
    u32 first = (tiles - 1 - blockIdx.x / each) * TALL, key, i, j;
    u64 sequence = blockIdx.x % each / a.shape.heads, head = blockIdx.x % each % a.shape.heads;
    Heads heads = heads_of(a.fused, a.shape, sequence, head);
    float *queries = (float *)arena, *keys = queries + TALL * pitch_of(width), *shares = keys + TALL * pitch_of(width);
    float tops[4], sums[4], out[4 * OWN], scores[16];
#pragma unroll
    for (i = 0; i < 4; i += 1) {
        tops[i] = __uint_as_float(NOTHING);
        sums[i] = 0.0f;
    }
#pragma unroll
    for (i = 0; i < 4 * OWN; i += 1) {
        out[i] = 0.0f;
    }
    take_tile(queries, heads.queries, first, TALL);
    for (key = 0; key <= first; key += TALL) {
        take_tile(keys, heads.keys, key, TALL);
        __syncthreads();
        rows_by_rows(scores, 4, queries, keys, width);
#pragma unroll
        for (i = 0; i < 4; i += 1) {
            float top = tops[i], fade;
#pragma unroll
            for (j = 0; j < 4; j += 1) {
                u32 at = key + across + SIDE * j;
                u32 hidden = at > first + down + SIDE * i || at >= (u32)a.shape.length;
                scores[i * 4 + j] = hidden ? __uint_as_float(NOTHING) : scores[i * 4 + j];
                top = scores[i * 4 + j] > top ? scores[i * 4 + j] : top;
            }
            top = over_row(top, 1);
            fade = expf(tops[i] - top);
            tops[i] = top;
            sums[i] *= fade;
#pragma unroll
            for (j = 0; j < 4; j += 1) {
                float share = expf(scores[i * 4 + j] - top);
                shares[(down + SIDE * i) * (TALL + 1) + across + SIDE * j] = share;
                sums[i] += share;
            }
#pragma unroll
            for (j = 0; j < OWN; j += 1) {
                out[i * OWN + j] *= fade;
            }
        }
        __syncthreads();
        take_tile(keys, heads.values, key, TALL);
        __syncthreads();
        weights_by_rows(out, 4, shares, keys, width);
        __syncthreads();
    }
#pragma unroll
    for (i = 0; i < 4; i += 1) {
        u64 row = first + down + SIDE * i;
        float sum = over_row(sums[i], 0);
        if (across == 0 && row < a.shape.length) {
            a.logs[place_of(a.shape, sequence, head, row)] = tops[i] + logf(sum);
        }
        sums[i] = 1.0f / sum;
    }
    leave_tile(a.mixed, head_of(a.mixed, a.shape, sequence, a.shape.heads, head), first, 4, out, sums);
}

typedef struct {
    Shape shape;
    const void *mixed, *slope;
    float *pulls;
} AttentionPullsArguments;

/* For each token and head its output times the gradient by it; one warp for each. */
KERNEL(attention_pulls, AttentionPullsArguments) {
    u64 row = (u64)blockIdx.x * WARPS + threadIdx.x / LANES, token = row / a.shape.heads, start = row * a.shape.width, at;
    u64 count = a.shape.sequences * a.shape.length * a.shape.heads;
    float sum = 0.0f;
    u32 by;
    for (at = threadIdx.x % LANES; row < count && at < a.shape.width; at += LANES) {
        sum = fmaf(element(a.mixed, start + at, a.shape.narrow), element(a.slope, start + at, a.shape.narrow), sum);
    }
    for (by = LANES / 2; by > 0; by /= 2) {
        sum += from_below(sum, by);
    }
    if (row < count && threadIdx.x % LANES == 0) {
        a.pulls[place_of(a.shape, token / a.shape.length, row % a.shape.heads, token % a.shape.length)] = sum;
    }
}

/* Of one place of the square of scores its share and its gradient: none where the key is hidden from the query. */
typedef struct {
    float share, slope;
} Pair;

DEVICE Pair pair_of(float score, float product, float log, float pull) {
    Pair pair;
    pair.share = expf(score - log);
    pair.slope = pair.share * (product - pull);
    return pair;
}

/* One block for each tile of keys of a head of keys: it goes through all queries that see them. */
KERNEL(attention_keys, AttentionBackwardArguments) {
    ARENA(arena);
    u64 pairs = a.shape.heads / a.shape.group, head;
    u32 each = (u32)(a.shape.sequences * pairs), width = (u32)a.shape.width, length = (u32)a.shape.length;
    u32 first = blockIdx.x / each * LOW, down = threadIdx.x / SIDE, across = threadIdx.x % SIDE, query, i, j;
    u64 sequence = blockIdx.x % each / pairs, pair = blockIdx.x % each % pairs;
    Heads heads = heads_of(a.fused, a.shape, sequence, pair * a.shape.group), into;
    float *keys = (float *)arena, *values = keys + LOW * pitch_of(width), *queries = values + LOW * pitch_of(width);
    float *slopes = queries + LOW * pitch_of(width), *shares = slopes + LOW * pitch_of(width);
    float *turns = shares + LOW * (LOW + 1), scores[4], products[4], by_keys[2 * OWN], by_values[2 * OWN];
    const float one[2] = {1.0f, 1.0f};
#pragma unroll
    for (i = 0; i < 2 * OWN; i += 1) {
        by_keys[i] = by_values[i] = 0.0f;
    }
    take_tile(keys, heads.keys, first, LOW);
    take_tile(values, heads.values, first, LOW);
    for (head = pair * a.shape.group; head < (pair + 1) * a.shape.group; head += 1) {
        for (query = first; query < length; query += LOW) {
            heads = heads_of(a.fused, a.shape, sequence, head);
            take_tile(queries, heads.queries, query, LOW);
            take_tile(slopes, head_of(a.slope, a.shape, sequence, a.shape.heads, head), query, LOW);
            __syncthreads();
            rows_by_rows(scores, 2, keys, queries, width);
            rows_by_rows(products, 2, values, slopes, width);
#pragma unroll
            for (j = 0; j < 2; j += 1) {
                u32 at = query + across + SIDE * j, seen = at < length;
                u64 place = place_of(a.shape, sequence, head, seen ? at : 0);
                float log = a.logs[place], pull = a.pulls[place];
#pragma unroll
                for (i = 0; i < 2; i += 1) {
                    Pair found = pair_of(scores[i * 2 + j], products[i * 2 + j], log, pull);
                    u32 hidden = !seen || first + down + SIDE * i > at, to = (down + SIDE * i) * (LOW + 1) + across + SIDE * j;
                    shares[to] = hidden ? 0.0f : found.share;
                    turns[to] = hidden ? 0.0f : found.slope;
                }
            }
            __syncthreads();
            weights_by_rows(by_values, 2, shares, slopes, width);
            weights_by_rows(by_keys, 2, turns, queries, width);
            __syncthreads();
        }
    }
    into = heads_of(a.gradient, a.shape, sequence, pair * a.shape.group);
    leave_tile(a.gradient, into.keys, first, 2, by_keys, one);
    leave_tile(a.gradient, into.values, first, 2, by_values, one);
}

/* One block for each tile of queries of a head: it goes through all keys that they see. */
KERNEL(attention_queries, AttentionBackwardArguments) {
    ARENA(arena);
    u32 each = (u32)(a.shape.sequences * a.shape.heads), tiles = ((u32)a.shape.length + LOW - 1) / LOW;
    u32 width = (u32)a.shape.width, length = (u32)a.shape.length, down = threadIdx.x / SIDE, across = threadIdx.x % SIDE;
    u32 first = (tiles - 1 - blockIdx.x / each) * LOW, key, i, j;
    u64 sequence = blockIdx.x % each / a.shape.heads, head = blockIdx.x % each % a.shape.heads;
    Heads heads = heads_of(a.fused, a.shape, sequence, head);
    float *queries = (float *)arena, *slopes = queries + LOW * pitch_of(width), *keys = slopes + LOW * pitch_of(width);
    float *values = keys + LOW * pitch_of(width), *turns = values + LOW * pitch_of(width);
    float scores[4], products[4], by_queries[2 * OWN];
    const float one[2] = {1.0f, 1.0f};
#pragma unroll
    for (i = 0; i < 2 * OWN; i += 1) {
        by_queries[i] = 0.0f;
    }
    take_tile(queries, heads.queries, first, LOW);
    take_tile(slopes, head_of(a.slope, a.shape, sequence, a.shape.heads, head), first, LOW);
    for (key = 0; key <= first; key += LOW) {
        take_tile(keys, heads.keys, key, LOW);
        take_tile(values, heads.values, key, LOW);
        __syncthreads();
        rows_by_rows(scores, 2, queries, keys, width);
        rows_by_rows(products, 2, slopes, values, width);
#pragma unroll
        for (i = 0; i < 2; i += 1) {
            u32 row = first + down + SIDE * i, seen = row < length;
            u64 place = place_of(a.shape, sequence, head, seen ? row : 0);
            float log = a.logs[place], pull = a.pulls[place];
#pragma unroll
            for (j = 0; j < 2; j += 1) {
                Pair found = pair_of(scores[i * 2 + j], products[i * 2 + j], log, pull);
                u32 hidden = !seen || key + across + SIDE * j > row;
                turns[(down + SIDE * i) * (LOW + 1) + across + SIDE * j] = hidden ? 0.0f : found.slope;
            }
        }
        __syncthreads();
        weights_by_rows(by_queries, 2, turns, keys, width);
        __syncthreads();
    }
    leave_tile(a.gradient, heads_of(a.gradient, a.shape, sequence, head).queries, first, 2, by_queries, one);
}
