/* One pass over some tensors: error feedback is decayed, the step of the parameters added, the largest of every chunk
 * selected, quantised and taken off. One block for each chunk; the chunk stays in shared memory between one read and
 * one write of the feedback.
 *
 * What is selected: the `kept` elements of largest magnitude; of equal ones the lower position wins. Zeros never do, but
 * where codes are chosen later: then every chunk gives as many as it may. */

/* Bits of the largest number that can be compressed, 2^30. */
#define LARGEST 0x4e800000u
/* Bits of a mantissa that a scale leaves out, upper bits of 2^-80 less one, code of 2^32. */
#define DROPPED 19u
#define BASE (((127u - 80u) << 4) - 1u)
#define CODE_MAX ((112u << 4) + 1u)
/* Rounds of Lloyd's algorithm for two levels. */
#define ROUNDS 4u
/* Lanes in which selected values are summed. */
#define SUM_LANES 16u
/* Keys that are searched apart from all others. */
#define LIST 1024u
/* Bits of a key that the first, rough search leaves out. */
#define ROUGH 16
#define TWO_LEVELS 2u
#define EIGHT_LEVELS 3u
/* Values go out as they are: because they are sent so, or because it is not known yet what they become. */
#define EXACT 4u
#define LATER 5u

typedef struct {
    float *feedback;
    /* Parameters before and after; null: the feedback is taken as it is. */
    const float *before, *after;
    /* For each chunk: number of values, lower scale, upper scale, 16 bits each. */
    u64 *heads;
    /* For each chunk `slots` places. */
    u16 *indices;
    u8 *codes;
    /* The same places for the values themselves; null: they are not wanted. */
    float *values;
    /* How many values could not be used. */
    u64 *rejected;
    const Tensor *tensors;
    /* For each tensor the values kept of a chunk, by whether it has one row more and one column more than the shortest. */
    const u64 *kept;
    u64 count, slots, decay, quantiser, subtract;
} CompressArguments;

typedef struct {
    u32 found, largest, low, high;
    u32 above[WARPS], equal[WARPS];
    u32 list[LIST];
} Search;

/* The elements of this thread's warp: a run of the chunk, so that the order of warps is that of positions. */
typedef struct {
    u32 begin, end;
} Share;

DEVICE Share share_of(u32 length, u32 warp) {
    u32 steps = (length + THREADS - 1) / THREADS;
    Share share;
    share.begin = least_of(warp * steps * LANES, length);
    share.end = least_of(share.begin + steps * LANES, length);
    return share;
}

/* What a value becomes that is of no use: zero. */
DEVICE float usable(float value, u32 *rejected) {
    u32 unusable = key_of(value) > LARGEST;
    *rejected += unusable;
    return unusable ? 0.0f : value;
}

/* Reads this thread's elements and returns the largest key among them. */
DEVICE u32 load(const CompressArguments *a, Chunk chunk, Share share, u32 lane, float *values) {
    float decay = number_of(a->decay), feedback[AHEAD], before[AHEAD], after[AHEAD];
    u32 largest = 0, rejected = 0, ahead, first;
    Walk walk;
    if (share.begin + lane >= share.end) {
        return 0;
    }
    for (walk = walk_from(chunk, share.begin + lane, LANES); walk.index < share.end;) {
        first = walk.index;
#pragma unroll
        for (ahead = 0; ahead < AHEAD; ahead += 1) {
            if (walk.index < share.end) {
                feedback[ahead] = a->feedback[walk.position];
                if (a->before) {
                    before[ahead] = a->before[walk.position];
                    after[ahead] = a->after[walk.position];
                }
                walk_on(&walk, chunk);
            }
        }
#pragma unroll
        for (ahead = 0; ahead < AHEAD; ahead += 1) {
            u32 index = first + ahead * LANES, key;
            if (index < share.end) {
                float value = feedback[ahead];
                if (a->before) {
                    float step = before[ahead] - after[ahead];
                    value = decay * value + step;
                }
                value = usable(value, &rejected);
                values[index] = value;
                key = key_of(value);
                largest = key > largest ? key : largest;
            }
        }
    }
    if (rejected) {
        atomicAdd(a->rejected, (u64)rejected);
    }
    return largest;
}

/* A key, at least `least`, that `kept` elements reach if so many reach that: that many threads have one that does. */
DEVICE u32 rough_bound(u32 largest, u32 kept, u32 least) {
    u32 bound = 0, bit;
    if (kept > THREADS) {
        return least;
    }
    for (bit = 1u << 30; bit >> ROUGH; bit >>= 1) {
        if (count_of(largest >= (bound | bit)) >= kept) {
            bound |= bit;
        }
    }
    return bound ? bound : least;
}

/* Lists the keys that reach the bound, in any order, and counts those that find no room too. */
DEVICE void list_keys(Search *search, const float *values, Share share, u32 lane, u32 bound) {
    u32 base;
    for (base = share.begin; base < share.end; base += LANES) {
        u32 here = base + lane < share.end, key = here ? key_of(values[base + lane]) : 0;
        u32 reaches = here && key >= bound, reach = __ballot_sync(ALL, reaches), first = 0;
        if (lane == 0 && reach) {
            first = atomicAdd(&search->found, (u32)__popc(reach));
        }
        first = __shfl_sync(ALL, first, 0) + __popc(reach & ((1u << lane) - 1));
        if (reaches && first < LIST) {
            search->list[first] = key;
        }
    }
}

/* How many of some keys reach a bound. */
DEVICE u32 reaching(const u32 *keys, u32 count, u32 bound) {
    u32 base, sum = 0;
    for (base = 0; base < count; base += THREADS) {
        u32 place = base + threadIdx.x;
        sum += count_of(place < count && (keys[place] & MAGNITUDE) >= bound);
    }
    return sum;
}

/* Keys above `least` are selected, and the first `ties` of those equal to it. */
typedef struct {
    u32 least, ties;
} Threshold;

DEVICE Threshold threshold_of(Search *search, const float *values, u32 length, u32 kept, u32 bound) {
    u32 found = search->found, end = search->largest + 1;
    const u32 *keys = found > LIST ? (const u32 *)values : search->list;
    u32 count = found > LIST ? length : found;
    Threshold threshold;
    threshold.least = bound;
    threshold.ties = length;
    if (found <= kept) {
        return threshold;
    }
    /* More than `kept` keys reach `least`, fewer reach `end`. */
    while (end - threshold.least > 1) {
        u32 middle = threshold.least + (end - threshold.least) / 2;
        u32 reached = reaching(keys, count, middle);
        if (reached == kept) {
            threshold.least = middle;
            return threshold;
        }
        if (reached > kept) {
            threshold.least = middle;
        } else {
            end = middle;
        }
    }
    threshold.ties = kept - reaching(keys, count, end);
    return threshold;
}

/* Writes the positions of the selected elements in order and returns how many there are. */
DEVICE u32 pick(Search *search, const float *values, Share share, u32 lane, Threshold threshold, u16 *picks) {
    u32 warp = threadIdx.x / LANES, base, above = 0, equal = 0, place = 0, total = 0, ties = threshold.ties, mine = 0;
    for (base = share.begin; base < share.end; base += LANES) {
        u32 here = base + lane < share.end, key = here ? key_of(values[base + lane]) : 0;
        above += __popc(__ballot_sync(ALL, key > threshold.least));
        equal += __popc(__ballot_sync(ALL, here && key == threshold.least));
    }
    if (lane == 0) {
        search->above[warp] = above;
        search->equal[warp] = equal;
    }
    __syncthreads();
    for (base = 0; base < WARPS; base += 1) {
        u32 taken = least_of(search->equal[base], ties);
        if (base == warp) {
            place = total;
            mine = ties;
        }
        total += search->above[base] + taken;
        ties -= taken;
    }
    for (base = share.begin; base < share.end; base += LANES) {
        u32 here = base + lane < share.end, key = here ? key_of(values[base + lane]) : 0, before = (1u << lane) - 1;
        u32 same = __ballot_sync(ALL, here && key == threshold.least);
        u32 tie = here && key == threshold.least && (u32)__popc(same & before) < mine;
        u32 taken = __ballot_sync(ALL, key > threshold.least || tie);
        if (key > threshold.least || tie) {
            picks[place + __popc(taken & before)] = (u16)(base + lane);
        }
        place += __popc(taken);
        mine -= least_of(mine, (u32)__popc(same));
    }
    return total;
}

DEVICE u32 code_of(float value) {
    u32 upper = (__float_as_uint(value) + (1u << (DROPPED - 1))) >> DROPPED;
    return upper > BASE ? least_of(upper - BASE, CODE_MAX) : 0;
}

DEVICE float value_of(u32 code) {
    return code ? __uint_as_float((BASE + code) << DROPPED) : 0.0f;
}

DEVICE float magnitude_of(float value) {
    return __uint_as_float(key_of(value));
}

/* Mean magnitudes of the selected values from a border on and below it; zero where there are none. Value i is summed in
 * lane i mod 16, and lanes are added pairwise, halves first. One warp, its halves side by side. */
typedef struct {
    float above, below;
} Means;

DEVICE Means means_of(const float *values, const u16 *picks, u32 count, float border) {
    u32 lane = threadIdx.x % LANES, place, holding = 0, width;
    float sum = 0.0f, mean;
    Means means;
    for (place = lane % SUM_LANES; place < count; place += SUM_LANES) {
        float magnitude = magnitude_of(values[picks[place]]);
        u32 holds = lane < SUM_LANES ? magnitude >= border : magnitude < border;
        sum += holds ? magnitude : 0.0f;
        holding += holds;
    }
    for (width = SUM_LANES / 2; width > 0; width /= 2) {
        sum += __uint_as_float(__shfl_down_sync(ALL, __float_as_uint(sum), width, SUM_LANES));
        holding += __shfl_down_sync(ALL, holding, width, SUM_LANES);
    }
    mean = holding ? sum / (float)holding : 0.0f;
    means.above = __uint_as_float(__shfl_sync(ALL, __float_as_uint(mean), 0));
    means.below = __uint_as_float(__shfl_sync(ALL, __float_as_uint(mean), SUM_LANES));
    return means;
}

/* Codes of the least and of the largest magnitude: one warp. */
DEVICE void choose_extremes(Search *search, const float *values, const u16 *picks, u32 count) {
    u32 least = MAGNITUDE, largest = 0, place, by;
    for (place = threadIdx.x; place < count; place += LANES) {
        u32 key = key_of(values[picks[place]]);
        least = least_of(least, key);
        largest = key > largest ? key : largest;
    }
    for (by = LANES / 2; by > 0; by /= 2) {
        u32 other = __shfl_down_sync(ALL, largest, by, LANES);
        least = least_of(least, __shfl_down_sync(ALL, least, by, LANES));
        largest = other > largest ? other : largest;
    }
    if (threadIdx.x == 0) {
        search->low = code_of(__uint_as_float(least_of(least, largest)));
        search->high = code_of(__uint_as_float(largest));
    }
}

/* Chooses the scales of a chunk, zero where its values go out as they are: one warp. */
DEVICE void choose_scales(Search *search, const float *values, const u16 *picks, u32 count, u64 quantiser) {
    float border, low, high;
    u32 round, first, second;
    if (quantiser == EIGHT_LEVELS) {
        choose_extremes(search, values, picks, count);
        return;
    }
    if (quantiser == EXACT || quantiser == LATER) {
        if (threadIdx.x == 0) {
            search->low = search->high = 0;
        }
        return;
    }
    border = low = high = means_of(values, picks, count, 0.0f).above;
    if (quantiser == TWO_LEVELS) {
        for (round = 0; round < ROUNDS; round += 1) {
            Means means = means_of(values, picks, count, border);
            /* The mean of equal values may round to just above them. */
            if (means.above == 0.0f) {
                break;
            }
            low = means.below > 0.0f ? means.below : means.above;
            high = means.above;
            border = 0.5f * (low + high);
        }
    }
    first = code_of(low);
    second = code_of(high);
    if (threadIdx.x == 0) {
        search->low = quantiser == TWO_LEVELS ? least_of(first, second) : 0;
        search->high = second;
    }
}

/* Which magnitude a value takes: the nearer of two, or the nearest of eight evenly spaced ones. */
DEVICE u32 level_of(const CompressArguments *a, float magnitude, float low, float high) {
    float step = (high - low) / 7.0f, place;
    if (a->quantiser == TWO_LEVELS) {
        /* Every one takes the upper level if both are the same. */
        return magnitude >= (low == high ? 0.0f : 0.5f * (low + high));
    }
    if (a->quantiser != EIGHT_LEVELS || !(step > 0.0f)) {
        return 0;
    }
    place = (magnitude - low) / step + 0.5f;
    return place <= 0.0f ? 0 : place >= 7.0f ? 7 : (u32)place;
}

DEVICE float magnitude_at(const CompressArguments *a, u32 level, float low, float high) {
    if (a->quantiser == EIGHT_LEVELS) {
        float step = (high - low) / 7.0f;
        return low + (float)level * step;
    }
    return level || a->quantiser != TWO_LEVELS ? high : low;
}

/* What is left of a value when what its level stands for is taken off. */
DEVICE float left_of(const CompressArguments *a, float value, u32 level, float low, float high) {
    float magnitude = magnitude_at(a, level, low, high);
    if (a->quantiser == EXACT) {
        return 0.0f;
    }
    return value - (__float_as_uint(value) >> 31 ? -magnitude : magnitude);
}

/* Writes head, positions, codes and values of the chunk, and takes what they stand for off its values. */
DEVICE void emit(const CompressArguments *a, u64 number, const Search *search, const u16 *picks, u32 count,
                 float *values) {
    float low = value_of(search->low), high = value_of(search->high);
    u64 slot = number * a->slots;
    u32 place;
    if (threadIdx.x == 0) {
        a->heads[number] = count | (u64)search->low << 16 | (u64)search->high << 32;
    }
    for (place = threadIdx.x; place < count; place += THREADS) {
        u32 index = picks[place];
        float value = values[index];
        u32 sign = __float_as_uint(value) >> 31, level = level_of(a, magnitude_of(value), low, high);
        a->indices[slot + place] = (u16)index;
        a->codes[slot + place] = (u8)(sign | level << 1);
        if (a->values) {
            a->values[slot + place] = value;
        }
        if (a->subtract && a->quantiser != LATER) {
            values[index] = left_of(a, value, level, low, high);
        }
    }
}

/* Shared memory: the chunk's values, what the search needs, positions of the selected. */
KERNEL(compress, CompressArguments) {
    ARENA(arena);
    u32 place = tensor_here(a.tensors, a.count), lane = threadIdx.x % LANES;
    Tensor tensor = a.tensors[place];
    Chunk chunk = chunk_of(tensor);
    u32 taller = chunk.rows > tensor.down.whole, wider = chunk.width > tensor.across.whole;
    u32 kept = (u32)a.kept[4 * place + 2 * taller + wider], bound, largest, count;
    Share share = share_of(chunk.length, threadIdx.x / LANES);
    Search *search = (Search *)arena;
    float *values = (float *)(search + 1);
    u16 *picks = (u16 *)(values + chunk.length);
    Threshold threshold;
    Walk walk;

    if (threadIdx.x == 0) {
        search->found = 0;
        search->largest = 0;
    }
    __syncthreads();
    largest = load(&a, chunk, share, lane, values);
    atomicMax(&search->largest, largest);
    __syncthreads();
    bound = rough_bound(largest, kept, a.quantiser != LATER);
    list_keys(search, values, share, lane, bound);
    __syncthreads();
    threshold = threshold_of(search, values, chunk.length, kept, bound);
    count = pick(search, values, share, lane, threshold, picks);
    __syncthreads();
    if (threadIdx.x < LANES) {
        choose_scales(search, values, picks, count, a.quantiser);
    }
    __syncthreads();
    /* Below the smallest scale nothing is sent. */
    emit(&a, chunk.number, search, picks, search->high || a.values ? count : 0, values);
    __syncthreads();
    if (share.begin + lane < share.end) {
        for (walk = walk_from(chunk, share.begin + lane, LANES); walk.index < share.end; walk_on(&walk, chunk)) {
            a.feedback[walk.position] = values[walk.index];
        }
    }
}
