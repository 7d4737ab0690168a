/* A stand-in for NVIDIA's library of matrix products, cuBLASLt: those of its functions that this crate calls, in plain loops
 * on memory that the stand-in for the driver gave. It refuses what the library would: an algorithm chosen for another
 * product, addresses less aligned than was promised, matrices that do not fit each other; and products of factors of two
 * bytes whose depth is odd, so that the way without the library is gone too. */

enum { BLAS_OK = 0, BLAS_INVALID = 7, BLAS_UNSUPPORTED = 15 };
enum { SINGLE = 0, SHORT = 14, COMPUTE_SINGLE = 68 };

typedef struct {
    int type;
    unsigned long long rows, columns;
    long long step;
} Grid;

typedef struct {
    int compute, scale, turned[2];
} Recipe;

typedef struct {
    unsigned long long room;
    unsigned scheme, aligned[4];
} Wish;

/* What an algorithm remembers of the product that it was chosen for: eight words in all. */
typedef struct {
    const Recipe *recipe;
    const Grid *grids[3];
    unsigned aligned[4];
    unsigned long long left[2];
} Choice;

typedef struct {
    Choice choice;
    size_t room;
    int state;
    float waves;
    int reserved[4];
} Advice;

static int handle;

int cublasLtCreate(void **out) {
    *out = &handle;
    return BLAS_OK;
}

int cublasLtDestroy(void *gone) {
    return gone == &handle ? BLAS_OK : BLAS_INVALID;
}

int cublasLtMatrixLayoutCreate(Grid **out, int type, unsigned long long rows, unsigned long long columns, long long step) {
    Grid *grid = malloc(sizeof *grid);
    grid->type = type, grid->rows = rows, grid->columns = columns, grid->step = step;
    *out = grid;
    return (type == SINGLE || type == SHORT) && step >= (long long)rows ? BLAS_OK : BLAS_INVALID;
}

int cublasLtMatrixLayoutDestroy(Grid *grid) {
    free(grid);
    return BLAS_OK;
}

int cublasLtMatmulDescCreate(Recipe **out, int compute, int scale) {
    Recipe *recipe = calloc(1, sizeof *recipe);
    recipe->compute = compute, recipe->scale = scale;
    *out = recipe;
    return compute == COMPUTE_SINGLE && scale == SINGLE ? BLAS_OK : BLAS_INVALID;
}

int cublasLtMatmulDescDestroy(Recipe *recipe) {
    free(recipe);
    return BLAS_OK;
}

int cublasLtMatmulDescSetAttribute(Recipe *recipe, int attribute, const void *value, size_t bytes) {
    if ((attribute != 3 && attribute != 4) || bytes != sizeof(int)) {
        return BLAS_INVALID;
    }
    memcpy(&recipe->turned[attribute - 3], value, bytes);
    return BLAS_OK;
}

int cublasLtMatmulPreferenceCreate(Wish **out) {
    *out = calloc(1, sizeof **out);
    return BLAS_OK;
}

int cublasLtMatmulPreferenceDestroy(Wish *wish) {
    free(wish);
    return BLAS_OK;
}

int cublasLtMatmulPreferenceSetAttribute(Wish *wish, int attribute, const void *value, size_t bytes) {
    void *to = attribute == 1 ? (void *)&wish->room : attribute == 3 ? (void *)&wish->scheme
             : attribute >= 5 && attribute <= 8 ? (void *)&wish->aligned[attribute - 5] : NULL;
    if (!to || bytes != (attribute == 1 ? 8 : 4)) {
        return BLAS_INVALID;
    }
    memcpy(to, value, bytes);
    return BLAS_OK;
}

static unsigned long long rows_after(const Grid *grid, int turned) {
    return turned ? grid->columns : grid->rows;
}

int cublasLtMatmulAlgoGetHeuristic(void *from, const Recipe *recipe, const Grid *a, const Grid *b, const Grid *c, const Grid *d,
                                   const Wish *wish, int asked, Advice *advice, int *found) {
    int fits = rows_after(a, recipe->turned[0]) == d->rows && rows_after(b, !recipe->turned[1]) == d->columns
            && rows_after(a, !recipe->turned[0]) == rows_after(b, recipe->turned[1]) && c == d && a->type == b->type;
    if (from != &handle || !fits || !wish->room || wish->scheme != 2 || asked != 1) {
        return BLAS_INVALID;
    }
    *found = 0;
    if ((a->type == SHORT && rows_after(a, !recipe->turned[0]) % 2) || (a->type == SINGLE && d->type == SHORT)) {
        return BLAS_UNSUPPORTED;
    }
    memset(advice, 0, sizeof *advice);
    advice->choice.recipe = recipe;
    advice->choice.grids[0] = a, advice->choice.grids[1] = b, advice->choice.grids[2] = d;
    memcpy(advice->choice.aligned, wish->aligned, sizeof wish->aligned);
    *found = 1;
    return BLAS_OK;
}

static float number_at(const void *numbers, const Grid *grid, unsigned long long row, unsigned long long column) {
    u64 at = column * (u64)grid->step + row;
    return element(numbers, at, grid->type == SHORT);
}

int cublasLtMatmul(void *from, const Recipe *recipe, const float *alpha, const void *a, const Grid *of_a, const void *b,
                   const Grid *of_b, const float *beta, const void *c, const Grid *of_c, void *d, const Grid *of_d,
                   const Choice *choice, void *room, size_t bytes, void *stream) {
    const void *addresses[4] = {a, b, c, d};
    unsigned long long row, column, at, depth = rows_after(of_a, !recipe->turned[0]);
    int place, fits = choice->recipe == recipe && choice->grids[0] == of_a && choice->grids[1] == of_b
                   && choice->grids[2] == of_d && of_c == of_d;
    if (from != &handle || !fits || !room || !bytes || (uintptr_t)stream != STREAM) {
        return BLAS_INVALID;
    }
    for (place = 0; place < 4; place += 1) {
        if (!choice->aligned[place] || (uintptr_t)addresses[place] % choice->aligned[place]) {
            return BLAS_INVALID;
        }
    }
    for (column = 0; column < of_d->columns; column += 1) {
        for (row = 0; row < of_d->rows; row += 1) {
            float sum = 0.0f;
            for (at = 0; at < depth; at += 1) {
                sum += (recipe->turned[0] ? number_at(a, of_a, at, row) : number_at(a, of_a, row, at))
                     * (recipe->turned[1] ? number_at(b, of_b, column, at) : number_at(b, of_b, at, column));
            }
            sum = *alpha * sum + (*beta != 0.0f ? *beta * number_at(c, of_c, row, column) : 0.0f);
            put(d, column * (u64)of_d->step + row, of_d->type == SHORT, sum);
        }
    }
    return BLAS_OK;
}

const char *cublasLtGetStatusString(int status) {
    return status ? "refused by the stand-in" : "no error";
}
