/* A stand-in for NVIDIA's library of neural networks, cuDNN: those of its functions that this crate calls, over plain loops
 * that go through a graph of operations one by one. So it tells whether the graphs mean attention, and whether they are
 * given to the library rightly: it refuses values of another type than an attribute has, parts that are not finished,
 * addresses less aligned than was promised, engines without working memory. Some widths of heads it takes badly. */

enum { DNN_OK = 0, DNN_BAD = 2000, DNN_UNSUPPORTED = 3000 };
enum { NUMBER_SINGLE = 0, NUMBER_SHORT = 9 };
enum { ENGINE = 2, CHOICE = 3, SEARCH = 4, PLAN = 5, GRAPH = 15, PACK = 16, TENSOR = 17, PRODUCT = 19, FOLD = 22, VIEW = 31 };
enum { ATTRIBUTES = 12, ENGINES = 2 };
/* Heads of these widths: the mask is forgotten; engines sum in any order; there are no engines. */
enum { UNMASKED = 40, UNORDERED = 24, UNKNOWN = 56 };

typedef struct Part {
    int kind, done, count, engine;
    struct {
        int name, type;
        long long count;
        void *values;
    } attributes[ATTRIBUTES];
    const struct Part *graph;
} Part;

/* A tensor's numbers as they are met, in the order of its sizes. */
typedef struct {
    long long sizes[4], strides[4], id;
    int type, inside, number, aligned;
    float *numbers;
    char *memory;
} Cells;

static int dnn_handle;
static void *dnn_stream;

size_t cudnnGetVersion(void) {
    return 91900;
}

int cudnnCreate(void **out) {
    *out = &dnn_handle;
    return DNN_OK;
}

int cudnnDestroy(void *gone) {
    return gone == &dnn_handle ? DNN_OK : DNN_BAD;
}

int cudnnSetStream(void *handle, void *stream) {
    dnn_stream = stream;
    return handle == &dnn_handle && (uintptr_t)stream == STREAM ? DNN_OK : DNN_BAD;
}

void cudnnGetLastErrorString(char *text, size_t bytes) {
    snprintf(text, bytes, "refused by the stand-in");
}

int cudnnBackendCreateDescriptor(int kind, Part **out) {
    *out = calloc(1, sizeof **out);
    (*out)->kind = kind;
    return DNN_OK;
}

int cudnnBackendDestroyDescriptor(Part *part) {
    int at;
    for (at = 0; at < part->count; at += 1) {
        free(part->attributes[at].values);
    }
    free(part);
    return DNN_OK;
}

/* The type that an attribute has: handle 0, type of numbers 1, truth 2, whole number 3, address 6, advice 8, arithmetic 14,
 * part 15, sum 18. */
static int type_of(int name) {
    switch (name) {
    case 400: case 800: return 0;
    case 1: case 901: case 1500: case 1601: return 1;
    case 907: case 908: return 2;
    case 9: case 900: case 902: case 903: case 906: case 1000: return 3;
    case 1001: case 1003: return 6;
    case 200: return 8;
    case 0: return 14;
    case 1600: return 18;
    default: return 15;
    }
}

static size_t bytes_of(int type) {
    return type == 2 ? 1 : type == 1 || type == 8 || type == 14 || type == 18 ? 4 : 8;
}

static const void *values_of(const Part *part, int name, long long *count) {
    int at;
    for (at = 0; at < part->count; at += 1) {
        if (part->attributes[at].name == name) {
            *count = part->attributes[at].count;
            return part->attributes[at].values;
        }
    }
    *count = 0;
    return NULL;
}

static const Part *part_of(const Part *part, int name) {
    long long count;
    const Part *const *values = values_of(part, name, &count);
    return values ? *values : NULL;
}

int cudnnBackendSetAttribute(Part *part, int name, int type, long long count, const void *values) {
    size_t bytes = (size_t)count * bytes_of(type);
    long long at;
    if (part->done || type != type_of(name) || count < 1 || part->count == ATTRIBUTES) {
        return DNN_BAD;
    }
    for (at = 0; type == 15 && at < count; at += 1) {
        if (!((const Part *const *)values)[at]->done) {
            return DNN_BAD;
        }
    }
    part->attributes[part->count].name = name, part->attributes[part->count].type = type;
    part->attributes[part->count].count = count;
    part->attributes[part->count].values = memcpy(malloc(bytes), values, bytes);
    part->count += 1;
    return DNN_OK;
}

static int setting_of(const Part *part, int name) {
    long long count;
    const void *values = values_of(part, name, &count);
    return !values ? -1 : bytes_of(type_of(name)) == 1 ? *(const char *)values : *(const int *)values;
}

static Cells cells_of(const Part *tensor) {
    Cells cells;
    long long count;
    memcpy(cells.sizes, values_of(tensor, 902, &count), sizeof cells.sizes);
    memcpy(cells.strides, values_of(tensor, 903, &count), sizeof cells.strides);
    cells.id = *(const long long *)values_of(tensor, 906, &count);
    cells.type = setting_of(tensor, 901), cells.aligned = setting_of(tensor, 900);
    cells.inside = setting_of(tensor, 907), cells.number = setting_of(tensor, 908);
    cells.numbers = NULL, cells.memory = NULL;
    return cells;
}

/* Sequences of a graph and the width of its heads, from its last product; whether it is of the backward pass. */
static Cells last_of(const Part *graph, int *backward) {
    long long count;
    const Part *const *operations = values_of(graph, 801, &count);
    *backward = count > 13;
    return cells_of(part_of(operations[count - 1], 1522));
}

static long long workspace_of(const Part *plan) {
    int backward;
    Cells out = last_of(part_of(plan, 401)->graph, &backward);
    long long small = 256 + 2 * backward * out.sizes[0] * out.sizes[1] * out.sizes[2] * out.sizes[2];
    return backward && out.sizes[0] > 2 ? 3ll << 30 : small;
}

int cudnnBackendFinalize(Part *part) {
    long long count;
    int known = part->kind != GRAPH || values_of(part, 800, &count);
    known = known && (part->kind != PLAN || (values_of(part, 400, &count) && part_of(part, 401)));
    known = known && (part->kind != PACK || values_of(part, 1003, &count));
    known = known && (part->kind != TENSOR || (values_of(part, 902, &count) && count == 4 && values_of(part, 903, &count)));
    part->done = known && !part->done;
    return part->done ? DNN_OK : DNN_BAD;
}

int cudnnBackendGetAttribute(const Part *part, int name, int type, long long asked, long long *count, void *values) {
    static const int notes[2] = {0, 4};
    int at, backward;
    if (!part->done && part->kind != ENGINE) {
        return DNN_BAD;
    }
    if (part->kind == SEARCH && name == 202 && type == 15) {
        const Part *graph = part_of(part, 201);
        long long width = last_of(graph, &backward).sizes[3];
        *count = width == UNKNOWN ? 0 : width == UNORDERED ? 1 : ENGINES;
        for (at = 0; at < *count && at < asked; at += 1) {
            ((Part **)values)[at]->graph = graph, ((Part **)values)[at]->engine = at, ((Part **)values)[at]->done = 1;
        }
        return setting_of(part, 200) == 3 || setting_of(part, 200) == 2 ? DNN_OK : DNN_BAD;
    }
    if (part->kind == CHOICE && name == 300 && type == 15) {
        Part *engine = *(Part **)values;
        engine->engine = part->engine, engine->done = 1;
        *count = 1;
        return asked == 1 && engine->kind == ENGINE ? DNN_OK : DNN_BAD;
    }
    if (part->kind == ENGINE && name == 1303 && type == 11) {
        *count = part->engine == 0 ? 2 : 1;
        memcpy(values, notes, (size_t)*count * sizeof *notes);
        return asked >= *count ? DNN_OK : DNN_BAD;
    }
    if ((part->kind == ENGINE && name == 1301) || (part->kind == PLAN && name == 402)) {
        *count = 1;
        *(long long *)values = part->kind == ENGINE ? part->engine : workspace_of(part);
        return type == 3 && asked == 1 ? DNN_OK : DNN_BAD;
    }
    return DNN_BAD;
}

/* The place of a cell in the order of sizes, or in memory. */
static long long place_in(const long long at[4], const long long *sizes, const long long *strides) {
    return strides ? at[0] * strides[0] + at[1] * strides[1] + at[2] * strides[2] + at[3] * strides[3]
                   : ((at[0] * sizes[1] + at[1]) * sizes[2] + at[2]) * sizes[3] + at[3];
}

static long long cells_in(const Cells *cells) {
    return cells->sizes[0] * cells->sizes[1] * cells->sizes[2] * cells->sizes[3];
}

static void cell_at(const Cells *cells, long long place, long long at[4]) {
    int side;
    for (side = 3; side >= 0; side -= 1) {
        at[side] = place % cells->sizes[side];
        place /= cells->sizes[side];
    }
}

/* Of a tensor the number for a cell of another: where it has fewer, each stands for neighbours. */
static float *number_for(const Cells *cells, const long long at[4], const long long *sizes) {
    long long mine[4];
    int side;
    for (side = 0; side < 4; side += 1) {
        mine[side] = at[side] * cells->sizes[side] / sizes[side];
    }
    return &cells->numbers[place_in(mine, cells->sizes, NULL)];
}

static Cells met(const Part *tensor, Cells *all, int count) {
    Cells cells = cells_of(tensor);
    long long place, at[4];
    int each;
    for (each = 0; each < count && all[each].id != cells.id; each += 1) {
    }
    cells.memory = all[each].memory;
    if (cells.inside || all[each].numbers) {
        return all[each];
    }
    cells.numbers = malloc((size_t)cells_in(&cells) * sizeof *cells.numbers);
    for (place = 0; place < cells_in(&cells); place += 1) {
        cell_at(&cells, place, at);
        cells.numbers[place] =
            element(cells.memory, (u64)place_in(at, cells.sizes, cells.strides), cells.type == NUMBER_SHORT);
    }
    return all[each] = cells;
}

/* Rounds the numbers, and writes those that are in memory. */
static void settle(const Cells *cells, Cells *all, int count) {
    long long place, at[4];
    u16 rounded[2];
    int each;
    for (place = 0; place < cells_in(cells); place += 1) {
        cell_at(cells, place, at);
        if (cells->type == NUMBER_SHORT) {
            put(rounded, 0, 1, cells->numbers[place]);
            cells->numbers[place] = element(rounded, 0, 1);
        }
        if (!cells->inside) {
            put(cells->memory, (u64)place_in(at, cells->sizes, cells->strides), cells->type == NUMBER_SHORT,
                cells->numbers[place]);
        }
    }
    for (each = 0; each < count && all[each].id != cells->id; each += 1) {
    }
    all[each] = *cells;
}

static float arithmetic(const Part *operation, const float *x, const long long at[4], int unmasked) {
    const Part *what = part_of(operation, 750);
    switch (setting_of(what, 0)) {
    case 0: return x[0] + x[1];
    case 1: return x[0] * x[1];
    case 6: return x[0] / x[1];
    case 9: return x[0] - x[1];
    case 13: return expf(x[0]);
    case 15: return logf(x[0]);
    case 303: return x[0] >= x[1];
    case 501: return (float)at[setting_of(what, 9)];
    case 601: return x[2] != 0.0f || unmasked ? x[0] : x[1];
    default: return 0.0f / 0.0f;
    }
}

static void each_cell(const Part *operation, Cells *out, Cells *all, int count, int unmasked) {
    static const int names[3] = {751, 752, 758};
    Cells from[3];
    float x[3];
    long long place, at[4];
    int side, given = 0;
    for (side = 0; side < 3; side += 1) {
        if (part_of(operation, names[side])) {
            from[side] = met(part_of(operation, names[side]), all, count);
            given = side + 1;
        }
    }
    for (place = 0; place < cells_in(out); place += 1) {
        cell_at(out, place, at);
        for (side = 0; side < given; side += 1) {
            x[side] = *number_for(&from[side], at, out->sizes);
        }
        out->numbers[place] = arithmetic(operation, x, at, unmasked);
    }
}

static void multiply(const Part *operation, Cells *out, Cells *all, int count) {
    Cells left = met(part_of(operation, 1520), all, count), right = met(part_of(operation, 1521), all, count);
    long long place, at[4], depth;
    for (place = 0; place < cells_in(out); place += 1) {
        float sum = 0.0f;
        cell_at(out, place, at);
        for (depth = 0; depth < left.sizes[3]; depth += 1) {
            long long row[4] = {at[0], at[1] * left.sizes[1] / out->sizes[1], at[2], depth};
            long long column[4] = {at[0], at[1] * right.sizes[1] / out->sizes[1], depth, at[3]};
            sum += left.numbers[place_in(row, left.sizes, NULL)] * right.numbers[place_in(column, right.sizes, NULL)];
        }
        out->numbers[place] = sum;
    }
}

static void fold(const Part *operation, Cells *out, Cells *all, int count) {
    Cells from = met(part_of(operation, 1610), all, count);
    int largest = setting_of(part_of(operation, 1612), 1600) == 3;
    long long place, at[4];
    for (place = 0; place < cells_in(out); place += 1) {
        out->numbers[place] = largest ? -1.0f / 0.0f : 0.0f;
    }
    for (place = 0; place < cells_in(&from); place += 1) {
        float *to;
        cell_at(&from, place, at);
        to = number_for(out, at, from.sizes);
        *to = !largest ? *to + from.numbers[place] : from.numbers[place] > *to ? from.numbers[place] : *to;
    }
}

/* The cells of the same place in memory. */
static int view(const Part *operation, Cells *out, Cells *all, int count) {
    Cells from = met(part_of(operation, 2200), all, count);
    long long place, at[4];
    for (place = 0; place < cells_in(out); place += 1) {
        cell_at(out, place, at);
        long long turned[4] = {at[0], at[1], at[3], at[2]};
        out->numbers[place] = from.numbers[place_in(turned, from.sizes, NULL)];
        if (place_in(at, NULL, out->strides) != place_in(turned, NULL, from.strides)) {
            return DNN_BAD;
        }
    }
    return DNN_OK;
}

static int operate(const Part *operation, Cells *all, int count, int unmasked) {
    static const int outs[4] = {753, 1522, 1611, 2201};
    int error = DNN_OK, side = operation->kind == PRODUCT ? 1 : operation->kind == FOLD ? 2 : operation->kind == VIEW ? 3 : 0;
    Cells out = cells_of(part_of(operation, outs[side]));
    int each;
    for (each = 0; each < count && all[each].id != out.id; each += 1) {
    }
    out.memory = all[each].memory;
    out.numbers = malloc((size_t)cells_in(&out) * sizeof *out.numbers);
    if (operation->kind == PRODUCT) {
        multiply(operation, &out, all, count);
    } else if (operation->kind == FOLD) {
        fold(operation, &out, all, count);
    } else if (operation->kind == VIEW) {
        error = view(operation, &out, all, count);
    } else {
        each_cell(operation, &out, all, count, unmasked);
    }
    settle(&out, all, count);
    return error;
}

enum { TENSORS = 64 };

/* Notes a tensor of an operation, and where it lies. */
static int meet(const Part *tensor, const Part *pack, Cells *all, int *count) {
    long long named, at;
    const long long *ids = values_of(pack, 1000, &named);
    char *const *addresses = values_of(pack, 1001, &named);
    Cells cells;
    int each;
    if (!tensor) {
        return DNN_OK;
    }
    cells = cells_of(tensor);
    for (each = 0; each < *count; each += 1) {
        if (all[each].id == cells.id) {
            return DNN_OK;
        }
    }
    for (at = 0; at < named; at += 1) {
        cells.memory = ids[at] == cells.id ? addresses[at] : cells.memory;
    }
    all[(*count)++] = cells;
    if (cells.inside) {
        return cells.memory ? DNN_BAD : DNN_OK;
    }
    return cells.memory && (cells.number || (uintptr_t)cells.memory % (unsigned)cells.aligned == 0) ? DNN_OK : DNN_BAD;
}

int cudnnBackendExecute(void *handle, const Part *plan, const Part *pack) {
    static const int tensors[11] = {751, 752, 758, 753, 1520, 1521, 1522, 1610, 1611, 2200, 2201};
    static Cells all[TENSORS];
    const Part *const *operations;
    long long length, at;
    int count = 0, name, error = DNN_OK, backward, unmasked;
    if (handle != &dnn_handle || !dnn_stream || !plan->done || !pack->done || !*(void *const *)values_of(pack, 1003, &length)) {
        return DNN_BAD;
    }
    unmasked = last_of(part_of(plan, 401)->graph, &backward).sizes[3] == UNMASKED;
    operations = values_of(part_of(plan, 401)->graph, 801, &length);
    for (at = 0; at < length; at += 1) {
        for (name = 0; name < 11; name += 1) {
            error = error ? error : meet(part_of(operations[at], tensors[name]), pack, all, &count);
        }
    }
    for (at = 0; at < length && !error; at += 1) {
        error = operate(operations[at], all, count, unmasked);
    }
    for (name = 0; name < count; name += 1) {
        free(all[name].numbers);
        all[name].numbers = NULL;
    }
    return error;
}
