/* The training step besides its matrix products and attention: RMSNorm, rotary positions, SwiGLU, cross-entropy, embedding,
 * biases and AdamW, forward and backward. Operands of matrix products are f32 or bf16, all else is f32, and every sum runs in
 * f32 in a fixed order, so that a device repeats its own bits. Training need not agree between machines. */

/* Rows whose weight gradient one block sums. */
#define ROWS 16u
/* Numbers whose squares one block sums. */
#define PIECE 32768u

/* The sum of all threads' values, for all of them. */
DEVICE float sum_of(float *space, float value) {
    u32 by, warp;
    for (by = LANES / 2; by > 0; by /= 2) {
        value += from_below(value, by);
    }
    if (threadIdx.x % LANES == 0) {
        space[threadIdx.x / LANES] = value;
    }
    __syncthreads();
    for (warp = 0, value = 0.0f; warp < WARPS; warp += 1) {
        value += space[warp];
    }
    __syncthreads();
    return value;
}

/* The largest of all threads' values, for all of them; a NaN is passed over. */
DEVICE float top_of(float *space, float value) {
    u32 by, warp;
    for (by = LANES / 2; by > 0; by /= 2) {
        float other = from_below(value, by);
        value = other > value ? other : value;
    }
    if (threadIdx.x % LANES == 0) {
        space[threadIdx.x / LANES] = value;
    }
    __syncthreads();
    for (warp = 0, value = space[0]; warp < WARPS; warp += 1) {
        value = space[warp] > value ? space[warp] : value;
    }
    __syncthreads();
    return value;
}

typedef struct {
    const float *x, *weight;
    void *out;
    float *scales;
    u64 width, eps, narrow;
} NormForwardArguments;

/* out = x * scale * weight with scale = 1 / sqrt(mean(x^2) + eps); one block for each row. */
KERNEL(norm_forward, NormForwardArguments) {
    ARENA(arena);
    u64 row = (u64)blockIdx.x * a.width, at;
    float squares = 0.0f, scale;
    for (at = threadIdx.x; at < a.width; at += THREADS) {
        squares += a.x[row + at] * a.x[row + at];
    }
    scale = 1.0f / sqrtf(sum_of((float *)arena, squares) / (float)a.width + number_of(a.eps));
    if (threadIdx.x == 0) {
        a.scales[blockIdx.x] = scale;
    }
    for (at = threadIdx.x; at < a.width; at += THREADS) {
        put(a.out, row + at, a.narrow, a.x[row + at] * scale * a.weight[at]);
    }
}

typedef struct {
    const float *x, *weight, *scales;
    /* The gradient by the output; the output itself takes its place. */
    void *normed;
    /* The gradient by the input is added here. */
    float *stream;
    /* For each block the sum of the weight's gradient over its rows. */
    float *partial;
    u64 rows, width, narrow;
} NormBackwardArguments;

/* One block for 16 rows. Shared memory: 8 sums, and a sum for each column. */
KERNEL(norm_backward, NormBackwardArguments) {
    ARENA(arena);
    float *space = (float *)arena, *sums = space + WARPS;
    u64 first = (u64)blockIdx.x * ROWS, end = first + ROWS < a.rows ? first + ROWS : a.rows, row, at;
    for (at = threadIdx.x; at < a.width; at += THREADS) {
        sums[at] = 0.0f;
    }
    for (row = first; row < end; row += 1) {
        float scale = a.scales[row], pull = 0.0f;
        for (at = threadIdx.x; at < a.width; at += THREADS) {
            u64 place = row * a.width + at;
            pull += a.x[place] * a.weight[at] * element(a.normed, place, a.narrow);
        }
        pull = sum_of(space, pull) * scale * scale / (float)a.width;
        for (at = threadIdx.x; at < a.width; at += THREADS) {
            u64 place = row * a.width + at;
            float gradient = element(a.normed, place, a.narrow), unit = a.x[place] * scale;
            sums[at] += gradient * unit;
            a.stream[place] += scale * (gradient * a.weight[at] - a.x[place] * pull);
            put(a.normed, place, a.narrow, unit * a.weight[at]);
        }
    }
    for (at = threadIdx.x; at < a.width; at += THREADS) {
        a.partial[(u64)blockIdx.x * a.width + at] = sums[at];
    }
}

typedef struct {
    float *gradient;
    const float *partial;
    u64 parts, width;
} AddPartsArguments;

/* gradient += the sum of some parts, in their order; one thread for each column. */
KERNEL(add_parts, AddPartsArguments) {
    u64 column = (u64)blockIdx.x * THREADS + threadIdx.x, part;
    float sum = 0.0f;
    if (column < a.width) {
        for (part = 0; part < a.parts; part += 1) {
            sum += a.partial[part * a.width + column];
        }
        a.gradient[column] += sum;
    }
}

typedef struct {
    void *values;
    const float *cosines, *sines;
    /* Elements from one token to the next, and of the first head from the token's beginning. */
    u64 stride, offset;
    /* Heads of a token, half of their width, tokens of a sequence. */
    u64 heads, half, context;
    u64 scale, back, narrow;
} TurnArguments;

/* Turns the two halves of every head by the position's angles, or back; one block for each token. */
KERNEL(turn, TurnArguments) {
    u64 angles = blockIdx.x % a.context * a.half, base = (u64)blockIdx.x * a.stride + a.offset;
    u32 half = (u32)a.half, at;
    float scale = number_of(a.scale);
    for (at = threadIdx.x; at < (u32)a.heads * half; at += THREADS) {
        u32 pair = at % half;
        u64 low = base + at / half * 2 * half + pair, high = low + half;
        float cosine = a.cosines[angles + pair] * scale;
        float sine = a.sines[angles + pair] * (a.back ? -scale : scale);
        float x = element(a.values, low, a.narrow), y = element(a.values, high, a.narrow);
        put(a.values, low, a.narrow, x * cosine - y * sine);
        put(a.values, high, a.narrow, y * cosine + x * sine);
    }
}

typedef struct {
    /* Of each token `ffn` outputs, and `ffn` gates before `ffn` ups. */
    void *hidden, *gate_up;
    u64 ffn, narrow;
} SwigluArguments;

/* hidden = silu(gate) * up; one block for each token. */
KERNEL(swiglu_forward, SwigluArguments) {
    u64 out = (u64)blockIdx.x * a.ffn, in = 2 * out, at;
    for (at = threadIdx.x; at < a.ffn; at += THREADS) {
        float gate = element(a.gate_up, in + at, a.narrow), up = element(a.gate_up, in + a.ffn + at, a.narrow);
        put(a.hidden, out + at, a.narrow, gate * up / (1.0f + expf(-gate)));
    }
}

/* Replaces the gradient by the output with the output itself, and gate and up with their gradients. */
KERNEL(swiglu_backward, SwigluArguments) {
    u64 out = (u64)blockIdx.x * a.ffn, in = 2 * out, at;
    for (at = threadIdx.x; at < a.ffn; at += THREADS) {
        float gate = element(a.gate_up, in + at, a.narrow), up = element(a.gate_up, in + a.ffn + at, a.narrow);
        float gradient = element(a.hidden, out + at, a.narrow);
        float sigmoid = 1.0f / (1.0f + expf(-gate)), silu = gate * sigmoid;
        put(a.hidden, out + at, a.narrow, silu * up);
        put(a.gate_up, in + at, a.narrow, gradient * up * sigmoid * (1.0f + gate - silu));
        put(a.gate_up, in + a.ffn + at, a.narrow, gradient * silu);
    }
}

typedef struct {
    void *logits;
    const u32 *targets;
    float *losses;
    u64 vocabulary, scale, differentiate, narrow;
} LossArguments;

/* The loss of each row in nats; where asked for, the logits become `scale` times its gradient. One block for each row. A
 * target that is not in the vocabulary has the loss NaN. */
KERNEL(loss, LossArguments) {
    ARENA(arena);
    float *space = (float *)arena, top = __uint_as_float(0xff800000u), total = 0.0f, scale = number_of(a.scale), aim;
    u64 row = (u64)blockIdx.x * a.vocabulary, target = a.targets[blockIdx.x], at;
    for (at = threadIdx.x; at < a.vocabulary; at += THREADS) {
        float value = element(a.logits, row + at, a.narrow);
        top = value > top ? value : top;
    }
    top = top_of(space, top);
    for (at = threadIdx.x; at < a.vocabulary; at += THREADS) {
        total += expf(element(a.logits, row + at, a.narrow) - top);
    }
    total = sum_of(space, total);
    aim = target < a.vocabulary ? element(a.logits, row + target, a.narrow) : __uint_as_float(0x7fc00000u);
    if (threadIdx.x == 0) {
        a.losses[blockIdx.x] = logf(total) - (aim - top);
    }
    __syncthreads();
    for (at = threadIdx.x; a.differentiate && at < a.vocabulary; at += THREADS) {
        float share = expf(element(a.logits, row + at, a.narrow) - top) * (scale / total);
        put(a.logits, row + at, a.narrow, at == target ? share - scale : share);
    }
}

typedef struct {
    const float *values;
    float *sums;
    u64 count;
} SquareSumsArguments;

/* The sum of squares of each piece; one block for each. */
KERNEL(square_sums, SquareSumsArguments) {
    ARENA(arena);
    u64 first = (u64)blockIdx.x * PIECE, end = first + PIECE < a.count ? first + PIECE : a.count, at;
    float sum = 0.0f;
    for (at = first + threadIdx.x; at < end; at += THREADS) {
        sum += a.values[at] * a.values[at];
    }
    sum = sum_of((float *)arena, sum);
    if (threadIdx.x == 0) {
        a.sums[blockIdx.x] = sum;
    }
}

typedef struct {
    float *parameters;
    const float *gradient;
    float *first, *second;
    /* A copy in bf16 for matrix products, or null. */
    u16 *copy;
    u64 count, beta1, beta2, eps, rate, root, keep, clip;
} AdamwArguments;

/* One step of AdamW (arXiv 1711.05101): four numbers to each thread. */
KERNEL(adamw, AdamwArguments) {
    float beta1 = number_of(a.beta1), beta2 = number_of(a.beta2), eps = number_of(a.eps), rate = number_of(a.rate);
    float root = number_of(a.root), keep = number_of(a.keep), clip = number_of(a.clip);
    u64 at = (u64)blockIdx.x * 4 * THREADS + threadIdx.x;
    u32 round;
    for (round = 0; round < 4 && at < a.count; round += 1, at += THREADS) {
        float gradient = a.gradient[at] * clip, parameter;
        float first = beta1 * a.first[at] + (1.0f - beta1) * gradient;
        float second = beta2 * a.second[at] + (1.0f - beta2) * gradient * gradient;
        a.first[at] = first;
        a.second[at] = second;
        parameter = a.parameters[at] * keep - rate * first / (sqrtf(second) * root + eps);
        a.parameters[at] = parameter;
        if (a.copy) {
            a.copy[at] = narrowed(parameter);
        }
    }
}

typedef struct {
    const float *table;
    const u32 *ids;
    float *out;
    u64 width, vocabulary;
} GatherArguments;

/* Each token's row of the table; a token that is not in the vocabulary has zeros. One block for each token. */
KERNEL(gather, GatherArguments) {
    u64 id = a.ids[blockIdx.x], row = (u64)blockIdx.x * a.width, at;
    for (at = threadIdx.x; at < a.width; at += THREADS) {
        a.out[row + at] = id < a.vocabulary ? a.table[id * a.width + at] : 0.0f;
    }
}

typedef struct {
    float *gradient;
    const float *slope;
    /* Tokens of one id lie behind each other in `places`: those of the block's id begin at its start. */
    const u32 *ids, *starts, *places;
    u64 width, across;
} SpreadArguments;

/* gradient[id] += the slopes of all tokens of an id, in their order; `across` blocks for each id that occurs. */
KERNEL(spread, SpreadArguments) {
    u32 which = blockIdx.x / (u32)a.across, each;
    u64 column = (u64)(blockIdx.x % (u32)a.across) * THREADS + threadIdx.x;
    float sum = 0.0f;
    if (column < a.width) {
        for (each = a.starts[which]; each < a.starts[which + 1]; each += 1) {
            sum += a.slope[a.places[each] * a.width + column];
        }
        a.gradient[a.ids[which] * a.width + column] += sum;
    }
}

typedef struct {
    const float *values;
    void *out;
    u64 count, narrow;
} ConvertArguments;

/* Numbers as operands of matrix products: four to each thread. */
KERNEL(convert, ConvertArguments) {
    u64 at = (u64)blockIdx.x * 4 * THREADS + threadIdx.x;
    u32 round;
    for (round = 0; round < 4 && at < a.count; round += 1, at += THREADS) {
        put(a.out, at, a.narrow, a.values[at]);
    }
}

typedef struct {
    void *values;
    const float *bias;
    u64 width, narrow;
} AddBiasArguments;

/* Adds the bias to every row; one block for each. */
KERNEL(add_bias, AddBiasArguments) {
    u64 row = (u64)blockIdx.x * a.width, at;
    for (at = threadIdx.x; at < a.width; at += THREADS) {
        put(a.values, row + at, a.narrow, element(a.values, row + at, a.narrow) + a.bias[at]);
    }
}

typedef struct {
    const void *values;
    float *partial;
    u64 rows, width, narrow;
} SumRowsArguments;

/* For each 16 rows their sum, column by column; as many blocks as a row needs threads for each 16 rows. */
KERNEL(sum_rows, SumRowsArguments) {
    u32 across = (u32)((a.width + THREADS - 1) / THREADS), part = blockIdx.x / across;
    u64 column = (u64)(blockIdx.x % across) * THREADS + threadIdx.x, row = (u64)part * ROWS;
    u64 end = row + ROWS < a.rows ? row + ROWS : a.rows;
    float sum = 0.0f;
    if (column < a.width) {
        for (; row < end; row += 1) {
            sum += element(a.values, row * a.width + column, a.narrow);
        }
        a.partial[(u64)part * a.width + column] = sum;
    }
}
