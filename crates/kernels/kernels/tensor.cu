/* Causal attention as in attention.cu, on tensor cores: factors in bf16, sums in f32 and in a fixed order. For heads whose
 * width is a multiple of 16 and 128 at most.
 *
 * A warp has 16 rows of a band, and what it sums stays in its registers: of every 16 rows by 8 columns a lane has columns
 * 2 (lane mod 4) and the next, of rows lane / 4 and 8 more, as the instruction m16n8k16 gives them. Two such squares side by
 * side, rounded, are the left factor of the next product, so weights never leave their warp. */

/* Rows of a band, and rows that it meets at a time, forward and backward. */
#define BAND 128u
#define SPAN 64u
#define BRIEF 32u
/* Squares of 8 columns of a head at most. */
#define SQUARES 16u

#ifndef EMULATION
DEVICE void multiply_add(float *sum, const u32 *left, const u32 *right) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                 : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right[0]), "r"(right[1]));
}

DEVICE void turned_squares(u32 *right, const u16 *row) {
    u32 address = (u32)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(right[0]), "=r"(right[1])
                 : "r"(address)
                 : "memory");
}

DEVICE float quick_exp(float value) {
    return __expf(value);
}
#endif

DEVICE u32 packed(float low, float high) {
#ifdef EMULATION
    return narrowed(low) | (u32)narrowed(high) << 16;
#else
    u32 both;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
#endif
}

/* Numbers from one row of a tile to the next: rows begin four banks apart. */
DEVICE u32 step_of(u32 width) {
    return width + 8;
}

/* Brings `count` rows to shared memory, from the token `first` on; those behind the sequence's end are zero. */
DEVICE void take_rows(u16 *tile, Head head, u32 first, u32 count) {
    u32 quads = head.width / 4, at;
    for (at = threadIdx.x; at < count * quads; at += THREADS) {
        u32 row = at / quads, column = at % quads * 4;
        const u16 *from = (const u16 *)head.from + head.start + (u64)(first + row) * head.stride + column;
        *(u64 *)(tile + row * step_of(head.width) + column) = first + row < head.length ? *(const u64 *)from : 0;
    }
}

DEVICE u32 two_at(const u16 *tile, u32 at) {
    return *(const u32 *)(tile + at);
}

/* sums += rows `row` to `row + 15` of `a` times the first 8 n rows of `b`. */
DEVICE void rows_by_band(float *sums, u32 n, const u16 *a, u32 row, const u16 *b, u32 width) {
    u32 step = step_of(width), lane = threadIdx.x % LANES, deep, j;
    u32 at = lane / 4 * step + lane % 4 * 2;
    a += row * step;
    for (deep = 0; deep < width; deep += 16) {
        u32 left[4], right[2];
        left[0] = two_at(a, at + deep);
        left[1] = two_at(a, at + deep + 8 * step);
        left[2] = two_at(a, at + deep + 8);
        left[3] = two_at(a, at + deep + 8 * step + 8);
#pragma unroll
        for (j = 0; j < n; j += 1) {
            right[0] = two_at(b, at + deep + 8 * j * step);
            right[1] = two_at(b, at + deep + 8 * j * step + 8);
            multiply_add(sums + 4 * j, left, right);
        }
    }
}

/* out += n squares of weights times the first 8 n rows of `b`. */
DEVICE void weights_by_band(float *out, const float *weights, u32 n, const u16 *b, u32 width) {
    u32 step = step_of(width), i, j;
    b += threadIdx.x % 16 * step;
#pragma unroll
    for (i = 0; i < n / 2; i += 1) {
        const float *two = weights + 8 * i;
        u32 left[4], right[2];
        left[0] = packed(two[0], two[1]);
        left[1] = packed(two[2], two[3]);
        left[2] = packed(two[4], two[5]);
        left[3] = packed(two[6], two[7]);
#pragma unroll
        for (j = 0; j < SQUARES; j += 1) {
            if (8 * j < width) {
                turned_squares(right, b + 16 * i * step + 8 * j);
                multiply_add(out + 4 * j, left, right);
            }
        }
    }
}

DEVICE void no_sums(float *sums, u32 n) {
    u32 i;
#pragma unroll
    for (i = 0; i < n; i += 1) {
        sums[i] = 0.0f;
    }
}

/* Writes a warp's 16 rows, those from `row` on times `upper` and the other 8 times `lower`. */
DEVICE void leave_rows(void *to, Head head, u32 row, const float *out, float upper, float lower) {
    u32 lane = threadIdx.x % LANES, j, half;
    row += lane / 4;
#pragma unroll
    for (half = 0; half < 2; half += 1) {
        u64 place = head.start + (u64)(row + 8 * half) * head.stride + lane % 4 * 2;
        float factor = half ? lower : upper;
#pragma unroll
        for (j = 0; j < SQUARES; j += 1) {
            if (row + 8 * half < head.length && 8 * j < head.width) {
                *(u32 *)((u16 *)to + place + 8 * j) = packed(out[4 * j + 2 * half] * factor, out[4 * j + 2 * half + 1] * factor);
            }
        }
    }
}

/* The sum, or the largest, of what the four lanes of a row bring. */
DEVICE float over_four(float value, u32 largest) {
    u32 by;
    for (by = 1; by < 4; by *= 2) {
        float other = __uint_as_float(__shfl_xor_sync(ALL, __float_as_uint(value), (int)by));
        value = !largest ? value + other : other > value ? other : value;
    }
    return value;
}

/* One block for each band of queries of a head; those with most keys come first. */
KERNEL(tensor_forward, AttentionForwardArguments) {
    ARENA(arena);
    u32 each = (u32)(a.shape.sequences * a.shape.heads), length = (u32)a.shape.length, width = (u32)a.shape.width;
    u32 bands = (length + BAND - 1) / BAND, first = (bands - 1 - blockIdx.x / each) * BAND, lane = threadIdx.x % LANES;
    u32 end = least_of(first + BAND, length), own = threadIdx.x / LANES * 16, key, half, i;
    u64 sequence = blockIdx.x % each / a.shape.heads, head = blockIdx.x % each % a.shape.heads;
    Heads heads = heads_of(a.fused, a.shape, sequence, head);
    u16 *queries = (u16 *)arena, *keys = queries + BAND * step_of(width), *values = keys + SPAN * step_of(width);
    float tops[2], sums[2] = {0.0f, 0.0f}, out[4 * SQUARES], scores[SPAN / 2];
    tops[0] = tops[1] = __uint_as_float(NOTHING);
    no_sums(out, 4 * SQUARES);
    take_rows(queries, heads.queries, first, BAND);
    for (key = 0; key < end; key += SPAN) {
        take_rows(keys, heads.keys, key, SPAN);
        take_rows(values, heads.values, key, SPAN);
        __syncthreads();
        if (key < first + own + 16) {
            no_sums(scores, SPAN / 2);
            rows_by_band(scores, SPAN / 8, queries, own, keys, width);
#pragma unroll
            for (half = 0; half < 2; half += 1) {
                u32 row = first + own + lane / 4 + 8 * half;
                float top = tops[half], fade;
#pragma unroll
                for (i = 0; i < SPAN / 4; i += 1) {
                    u32 at = i / 2 * 4 + 2 * half + i % 2, seen = key + i / 2 * 8 + lane % 4 * 2 + i % 2 <= row;
                    scores[at] = seen ? scores[at] : __uint_as_float(NOTHING);
                    top = scores[at] > top ? scores[at] : top;
                }
                top = over_four(top, 1);
                fade = quick_exp(tops[half] - top);
                tops[half] = top;
                sums[half] *= fade;
#pragma unroll
                for (i = 0; i < SPAN / 4; i += 1) {
                    u32 at = i / 2 * 4 + 2 * half + i % 2;
                    scores[at] = quick_exp(scores[at] - top);
                    sums[half] += scores[at];
                }
#pragma unroll
                for (i = 0; i < 2 * SQUARES; i += 1) {
                    out[i / 2 * 4 + 2 * half + i % 2] *= fade;
                }
            }
            weights_by_band(out, scores, SPAN / 8, values, width);
        }
        __syncthreads();
    }
#pragma unroll
    for (half = 0; half < 2; half += 1) {
        u64 row = first + own + lane / 4 + 8 * half;
        sums[half] = over_four(sums[half], 0);
        if (lane % 4 == 0 && row < length) {
            a.logs[place_of(a.shape, sequence, head, row)] = tops[half] + logf(sums[half]);
        }
    }
    leave_rows(a.mixed, head_of(a.mixed, a.shape, sequence, a.shape.heads, head), first + own, out, 1.0f / sums[0], 1.0f / sums[1]);
}

/* One block for each band of keys of a head of keys: it goes through all queries that see them. */
KERNEL(tensor_keys, AttentionBackwardArguments) {
    ARENA(arena);
    u64 pairs = a.shape.heads / a.shape.group, head;
    u32 each = (u32)(a.shape.sequences * pairs), length = (u32)a.shape.length, width = (u32)a.shape.width;
    u32 first = blockIdx.x / each * BAND, lane = threadIdx.x % LANES, own = threadIdx.x / LANES * 16, query, i;
    u64 sequence = blockIdx.x % each / pairs, pair = blockIdx.x % each % pairs;
    Heads heads = heads_of(a.fused, a.shape, sequence, pair * a.shape.group);
    u16 *keys = (u16 *)arena, *values = keys + BAND * step_of(width), *queries = values + BAND * step_of(width);
    u16 *slopes = queries + BRIEF * step_of(width);
    float *logs = (float *)(slopes + BRIEF * step_of(width)), *pulls = logs + BRIEF;
    float by_keys[4 * SQUARES], by_values[4 * SQUARES], scores[BRIEF / 2], products[BRIEF / 2];
    no_sums(by_keys, 4 * SQUARES);
    no_sums(by_values, 4 * SQUARES);
    take_rows(keys, heads.keys, first, BAND);
    take_rows(values, heads.values, first, BAND);
    for (head = pair * a.shape.group; head < (pair + 1) * a.shape.group; head += 1) {
        for (query = first; query < length; query += BRIEF) {
            take_rows(queries, heads_of(a.fused, a.shape, sequence, head).queries, query, BRIEF);
            take_rows(slopes, head_of(a.slope, a.shape, sequence, a.shape.heads, head), query, BRIEF);
            if (threadIdx.x < BRIEF && query + threadIdx.x < length) {
                u64 place = place_of(a.shape, sequence, head, query + threadIdx.x);
                logs[threadIdx.x] = a.logs[place];
                pulls[threadIdx.x] = a.pulls[place];
            }
            __syncthreads();
            if (query + BRIEF > first + own) {
                no_sums(scores, BRIEF / 2);
                no_sums(products, BRIEF / 2);
                rows_by_band(scores, BRIEF / 8, keys, own, queries, width);
                rows_by_band(products, BRIEF / 8, values, own, slopes, width);
#pragma unroll
                for (i = 0; i < BRIEF / 2; i += 1) {
                    u32 column = i / 4 * 8 + lane % 4 * 2 + i % 2, key = first + own + lane / 4 + i % 4 / 2 * 8;
                    u32 seen = query + column < length && key <= query + column;
                    scores[i] = seen ? quick_exp(scores[i] - logs[column]) : 0.0f;
                    products[i] = seen ? scores[i] * (products[i] - pulls[column]) : 0.0f;
                }
                weights_by_band(by_values, scores, BRIEF / 8, slopes, width);
                weights_by_band(by_keys, products, BRIEF / 8, queries, width);
            }
            __syncthreads();
        }
    }
    heads = heads_of(a.gradient, a.shape, sequence, pair * a.shape.group);
    leave_rows(a.gradient, heads.keys, first + own, by_keys, 1.0f, 1.0f);
    leave_rows(a.gradient, heads.values, first + own, by_values, 1.0f, 1.0f);
}

/* One block for each band of queries of a head: it goes through all keys that they see. */
KERNEL(tensor_queries, AttentionBackwardArguments) {
    ARENA(arena);
    u32 each = (u32)(a.shape.sequences * a.shape.heads), length = (u32)a.shape.length, width = (u32)a.shape.width;
    u32 bands = (length + BAND - 1) / BAND, first = (bands - 1 - blockIdx.x / each) * BAND, lane = threadIdx.x % LANES;
    u32 end = least_of(first + BAND, length), own = threadIdx.x / LANES * 16, key, half, i;
    u64 sequence = blockIdx.x % each / a.shape.heads, head = blockIdx.x % each % a.shape.heads;
    Heads heads = heads_of(a.fused, a.shape, sequence, head);
    u16 *queries = (u16 *)arena, *slopes = queries + BAND * step_of(width), *keys = slopes + BAND * step_of(width);
    u16 *values = keys + BRIEF * step_of(width);
    float logs[2] = {0.0f, 0.0f}, pulls[2] = {0.0f, 0.0f}, by_queries[4 * SQUARES], scores[BRIEF / 2], products[BRIEF / 2];
#pragma unroll
    for (half = 0; half < 2; half += 1) {
        u64 row = first + own + lane / 4 + 8 * half, place = place_of(a.shape, sequence, head, row);
        logs[half] = row < length ? a.logs[place] : 0.0f;
        pulls[half] = row < length ? a.pulls[place] : 0.0f;
    }
    no_sums(by_queries, 4 * SQUARES);
    take_rows(queries, heads.queries, first, BAND);
    take_rows(slopes, head_of(a.slope, a.shape, sequence, a.shape.heads, head), first, BAND);
    for (key = 0; key < end; key += BRIEF) {
        take_rows(keys, heads.keys, key, BRIEF);
        take_rows(values, heads.values, key, BRIEF);
        __syncthreads();
        if (key < first + own + 16) {
            no_sums(scores, BRIEF / 2);
            no_sums(products, BRIEF / 2);
            rows_by_band(scores, BRIEF / 8, queries, own, keys, width);
            rows_by_band(products, BRIEF / 8, slopes, own, values, width);
#pragma unroll
            for (i = 0; i < BRIEF / 2; i += 1) {
                u32 column = key + i / 4 * 8 + lane % 4 * 2 + i % 2, low = i % 4 / 2;
                u32 row = first + own + lane / 4 + 8 * low, seen = column <= row && row < length;
                float share = quick_exp(scores[i] - logs[low]);
                products[i] = seen ? share * (products[i] - pulls[low]) : 0.0f;
            }
            weights_by_band(by_queries, products, BRIEF / 8, keys, width);
        }
        __syncthreads();
    }
    heads = heads_of(a.gradient, a.shape, sequence, head);
    leave_rows(a.gradient, heads.queries, first + own, by_queries, 1.0f, 1.0f);
}
