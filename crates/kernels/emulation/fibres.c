/* Runs kernels on the processor: fibres for threads, memory with guards on both sides. It ends the process with a message on
 * standard error at anything that a device would not forgive. The table KERNELS stands before this file. */

#define FIBRES 256
#define STACK (128 * 1024)
/* Bytes on both sides of every allocation that nobody may change, and what they hold; fresh memory holds it too. */
#define GUARD 64
#define POISON 0xc5

#define KERNEL_COUNT (sizeof KERNELS / sizeof *KERNELS)

static const char *running = "nothing";

static void fail(const char *what) {
    fprintf(stderr, "%s: %s, at block %u, thread %u\n", running, what, blockIdx.x, threadIdx.x);
    exit(1);
}

/* --- Fibres --- */

typedef enum { READY, AT_BLOCK, AT_WARP, ENDED } State;

static struct {
    State state;
    int started;
    unsigned value;
    jmp_buf at;
    ucontext_t first;
    char *stack;
} fibres[FIBRES];

static ucontext_t outside;
static jmp_buf scheduler;
static unsigned live, block_count, lanes[FIBRES / 32][32];
static const void *launched;
static void (*launched_entry)(const void *words);
static unsigned long long seed;

static unsigned random_below(unsigned end) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed >> 33) % end;
}

static void fibre_main(void) {
    launched_entry(launched);
    fibres[threadIdx.x].state = ENDED;
    live -= 1;
    _longjmp(scheduler, 1);
}

/* Leaves the running fibre until the scheduler comes back to it. */
static void wait_as(State state, unsigned value) {
    unsigned me = threadIdx.x;
    fibres[me].state = state;
    fibres[me].value = value;
    if (!_setjmp(fibres[me].at)) {
        _longjmp(scheduler, 1);
    }
}

static unsigned emulated_block(unsigned yes) {
    wait_as(AT_BLOCK, yes);
    return block_count;
}

static const unsigned *emulated_warp(unsigned value) {
    wait_as(AT_WARP, value);
    return lanes[threadIdx.x / 32];
}

static void resume(unsigned fibre) {
    if (_setjmp(scheduler)) {
        return;
    }
    threadIdx.x = fibre;
    if (fibres[fibre].started) {
        _longjmp(fibres[fibre].at, 1);
    }
    fibres[fibre].started = 1;
    getcontext(&fibres[fibre].first);
    fibres[fibre].first.uc_stack.ss_sp = fibres[fibre].stack;
    fibres[fibre].first.uc_stack.ss_size = STACK;
    fibres[fibre].first.uc_link = &outside;
    makecontext(&fibres[fibre].first, fibre_main, 0);
    setcontext(&fibres[fibre].first);
}

/* Lets a warp go on if all of it that still runs has come. */
static int release_warp(unsigned warp) {
    unsigned lane, waiting = 0;
    for (lane = 0; lane < 32; lane += 1) {
        State state = fibres[warp * 32 + lane].state;
        if (state != AT_WARP && state != ENDED) {
            return 0;
        }
        waiting += state == AT_WARP;
    }
    for (lane = 0; lane < 32; lane += 1) {
        unsigned fibre = warp * 32 + lane;
        lanes[warp][lane] = fibres[fibre].state == AT_WARP ? fibres[fibre].value : 0;
        if (fibres[fibre].state == AT_WARP) {
            fibres[fibre].state = READY;
        }
    }
    return waiting > 0;
}

static int release_block(void) {
    unsigned fibre, count = 0;
    for (fibre = 0; fibre < FIBRES; fibre += 1) {
        if (fibres[fibre].state != AT_BLOCK && fibres[fibre].state != ENDED) {
            return 0;
        }
        count += fibres[fibre].state == AT_BLOCK ? fibres[fibre].value : 0;
    }
    block_count = count;
    for (fibre = 0; fibre < FIBRES; fibre += 1) {
        if (fibres[fibre].state == AT_BLOCK) {
            fibres[fibre].state = READY;
        }
    }
    return 1;
}

/* Runs all fibres that can run once, in an order that the seed chooses. */
static int run_ready(void) {
    static unsigned order[FIBRES];
    unsigned place, ran = 0;
    for (place = 0; place < FIBRES; place += 1) {
        unsigned other = seed ? random_below(place + 1) : place;
        order[place] = order[other];
        order[other] = place;
    }
    for (place = 0; place < FIBRES; place += 1) {
        if (fibres[order[place]].state == READY) {
            resume(order[place]);
            ran += 1;
        }
    }
    return ran > 0;
}

static void run_block(void) {
    unsigned fibre, warp;
    for (fibre = 0; fibre < FIBRES; fibre += 1) {
        fibres[fibre].state = READY;
        fibres[fibre].started = 0;
    }
    live = FIBRES;
    while (live > 0) {
        int moved = run_ready();
        for (warp = 0; warp < FIBRES / 32; warp += 1) {
            moved |= release_warp(warp);
        }
        if (live > 0 && !release_block() && !moved) {
            fail("threads wait for each other at different places");
        }
    }
}

/* --- Memory --- */

typedef struct Allocation {
    unsigned char *start;
    unsigned long long bytes;
    struct Allocation *next;
} Allocation;

static Allocation *allocations;

static unsigned char *guarded(unsigned long long bytes) {
    unsigned char *whole = malloc(bytes + 2 * GUARD);
    if (!whole) {
        fail("no memory left");
    }
    memset(whole, POISON, bytes + 2 * GUARD);
    return whole + GUARD;
}

static void check_guard(const unsigned char *start, unsigned long long bytes) {
    unsigned place;
    for (place = 0; place < GUARD; place += 1) {
        if (start[-1 - (int)place] != POISON || start[bytes + place] != POISON) {
            fail("wrote beside its memory");
        }
    }
}

static void check_range(unsigned long long address, unsigned long long bytes) {
    Allocation *found;
    for (found = allocations; found; found = found->next) {
        unsigned long long start = (uintptr_t)found->start;
        if (start <= address && bytes <= found->bytes && address - start <= found->bytes - bytes) {
            return;
        }
    }
    fail("no such memory");
}

static unsigned long long allocate(unsigned long long bytes) {
    Allocation *made = malloc(sizeof *made);
    if (!made) {
        fail("no memory left");
    }
    made->start = guarded(bytes);
    made->bytes = bytes;
    made->next = allocations;
    allocations = made;
    return (uintptr_t)made->start;
}

static void release(unsigned long long address) {
    Allocation **at;
    for (at = &allocations; *at; at = &(*at)->next) {
        if ((uintptr_t)(*at)->start == address) {
            Allocation *found = *at;
            check_guard(found->start, found->bytes);
            free(found->start - GUARD);
            *at = found->next;
            free(found);
            return;
        }
    }
    fail("freed what was not allocated");
}

/* --- Launches --- */

/* Runs a kernel once in each block; its argument is copied from `words`. */
static void run_kernel(const Kernel *kernel, const void *words, unsigned long long blocks, unsigned long long shared) {
    Allocation *each;
    unsigned fibre;
    for (fibre = 0; fibre < FIBRES && !fibres[fibre].stack; fibre += 1) {
        fibres[fibre].stack = malloc(STACK);
        if (!fibres[fibre].stack) {
            fail("no memory left");
        }
    }
    running = kernel->name;
    launched = words;
    launched_entry = kernel->entry;
    for (blockIdx.x = 0; blockIdx.x < blocks; blockIdx.x += 1) {
        unsigned char *arena = guarded(shared);
        emulated_arena = (unsigned long long *)(void *)arena;
        run_block();
        check_guard(arena, shared);
        free(arena - GUARD);
    }
    for (each = allocations; each; each = each->next) {
        check_guard(each->start, each->bytes);
    }
    running = "nothing";
}
