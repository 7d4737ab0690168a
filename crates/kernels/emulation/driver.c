/* A stand-in for NVIDIA's driver and run-time compiler: those of their functions that this crate calls, over the emulation.
 * So the calls themselves are tested where there is no GPU: which are made, in which order, with which arguments. It refuses
 * what a driver would: handles it never gave, work without a context, shared memory that was not allowed. */

#include <pthread.h>

#define CONTEXT ((void *)0xc0)
#define MODULE ((void *)0xd0)
#define STREAM 0xe0u
#define EVENT 0xf000u
#define SHARED_MAX (227 << 10)

enum { SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_CONTEXT = 201, INVALID_HANDLE = 400 };

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
static __thread void *current;
static unsigned streams, events, allowed[64];

static int guarded_call(int bad, int error) {
    return current != CONTEXT ? INVALID_CONTEXT : bad ? error : SUCCESS;
}

static int is_stream(void *stream) {
    unsigned long long number = (uintptr_t)stream;
    return number >= STREAM && number < STREAM + streams;
}

static int is_event(void *event) {
    unsigned long long number = (uintptr_t)event;
    return number >= EVENT && number < EVENT + events;
}

int cuInit(unsigned flags) {
    return flags ? INVALID_VALUE : SUCCESS;
}

int cuDeviceGetCount(int *count) {
    *count = 1;
    return SUCCESS;
}

int cuDeviceGet(int *device, int ordinal) {
    *device = 7;
    return ordinal ? INVALID_VALUE : SUCCESS;
}

int cuDeviceGetName(char *name, int bytes, int device) {
    snprintf(name, (size_t)bytes, "stand-in");
    return device == 7 ? SUCCESS : INVALID_VALUE;
}

int cuDeviceGetAttribute(int *value, int attribute, int device) {
    /* Compute capability, major and minor; most shared memory of a block that asks for it. */
    *value = attribute == 75 ? 9 : attribute == 97 ? SHARED_MAX : 0;
    return device == 7 && (attribute == 75 || attribute == 76 || attribute == 97) ? SUCCESS : INVALID_VALUE;
}

int cuDevicePrimaryCtxRetain(void **context, int device) {
    *context = CONTEXT;
    return device == 7 ? SUCCESS : INVALID_VALUE;
}

int cuDevicePrimaryCtxRelease_v2(int device) {
    return device == 7 ? SUCCESS : INVALID_VALUE;
}

int cuCtxSetCurrent(void *context) {
    current = context;
    return context == CONTEXT ? SUCCESS : INVALID_CONTEXT;
}

int cuStreamCreate(void **stream, unsigned flags) {
    *stream = (void *)(uintptr_t)(STREAM + streams);
    streams += 1;
    return guarded_call(flags != 1, INVALID_VALUE);
}

int cuStreamSynchronize(void *stream) {
    return guarded_call(!is_stream(stream), INVALID_HANDLE);
}

int cuStreamDestroy_v2(void *stream) {
    return guarded_call(!is_stream(stream), INVALID_HANDLE);
}

int cuEventCreate(void **event, unsigned flags) {
    *event = (void *)(uintptr_t)(EVENT + events);
    events += 1;
    return guarded_call(flags != 2, INVALID_VALUE);
}

int cuEventRecord(void *event, void *stream) {
    return guarded_call(!is_event(event) || !is_stream(stream), INVALID_HANDLE);
}

int cuEventSynchronize(void *event) {
    return guarded_call(!is_event(event), INVALID_HANDLE);
}

int cuEventDestroy_v2(void *event) {
    return guarded_call(!is_event(event), INVALID_HANDLE);
}

int cuMemAlloc_v2(unsigned long long *address, size_t bytes) {
    int error = guarded_call(!bytes, INVALID_VALUE);
    if (!error && bytes > (size_t)1 << 40) {
        return OUT_OF_MEMORY;
    }
    if (!error) {
        pthread_mutex_lock(&one_at_a_time);
        *address = allocate(bytes);
        pthread_mutex_unlock(&one_at_a_time);
    }
    return error;
}

int cuMemFree_v2(unsigned long long address) {
    int error = guarded_call(0, SUCCESS);
    if (!error) {
        pthread_mutex_lock(&one_at_a_time);
        release(address);
        pthread_mutex_unlock(&one_at_a_time);
    }
    return error;
}

/* A checked copy; either side may be of the device. */
static int copy(void *to, const void *from, size_t bytes, unsigned long long device, void *stream) {
    int error = guarded_call(!is_stream(stream), INVALID_HANDLE);
    if (!error) {
        pthread_mutex_lock(&one_at_a_time);
        check_range(device, bytes);
        memmove(to, from, bytes);
        pthread_mutex_unlock(&one_at_a_time);
    }
    return error;
}

int cuMemcpyHtoDAsync_v2(unsigned long long to, const void *from, size_t bytes, void *stream) {
    return copy((void *)(uintptr_t)to, from, bytes, to, stream);
}

int cuMemcpyDtoHAsync_v2(void *to, unsigned long long from, size_t bytes, void *stream) {
    return copy(to, (const void *)(uintptr_t)from, bytes, from, stream);
}

int cuMemcpyDtoDAsync_v2(unsigned long long to, unsigned long long from, size_t bytes, void *stream) {
    int error = copy((void *)(uintptr_t)to, (const void *)(uintptr_t)from, 0, from, stream);
    return error ? error : copy((void *)(uintptr_t)to, (const void *)(uintptr_t)from, bytes, to, stream);
}

int cuMemsetD8Async(unsigned long long to, unsigned char value, size_t bytes, void *stream) {
    int error = guarded_call(!is_stream(stream), INVALID_HANDLE);
    if (!error) {
        pthread_mutex_lock(&one_at_a_time);
        check_range(to, bytes);
        memset((void *)(uintptr_t)to, value, bytes);
        pthread_mutex_unlock(&one_at_a_time);
    }
    return error;
}

int cuModuleLoadData(void **module, const void *image) {
    *module = MODULE;
    return guarded_call(strcmp(image, "stand-in code") != 0, INVALID_VALUE);
}

int cuModuleGetFunction(void **function, void *module, const char *name) {
    unsigned place;
    for (place = 0; place < KERNEL_COUNT; place += 1) {
        if (!strcmp(KERNELS[place].name, name)) {
            *function = (void *)(uintptr_t)(place + 1);
            return guarded_call(module != MODULE, INVALID_HANDLE);
        }
    }
    return INVALID_VALUE;
}

int cuFuncSetAttribute(void *function, int attribute, int value) {
    /* Shared memory that launches may ask for, in bytes; and that there is, in hundredths. */
    int bad = value < 0 || !(attribute == 8 && value <= SHARED_MAX) && !(attribute == 9 && value <= 100);
    if (!bad && attribute == 8) {
        allowed[(uintptr_t)function] = (unsigned)value;
    }
    return guarded_call(bad, INVALID_VALUE);
}

int cuLaunchKernel(void *function, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned threads_y,
                   unsigned threads_z, unsigned shared, void *stream, void **arguments, void **extra) {
    unsigned long long number = (uintptr_t)function;
    int known = number > 0 && number <= KERNEL_COUNT && is_stream(stream);
    int error = guarded_call(!known, INVALID_HANDLE);
    if (!error && (!x || y != 1 || z != 1 || threads != FIBRES || threads_y != 1 || threads_z != 1 || extra)) {
        error = INVALID_VALUE;
    }
    if (!error && shared > (allowed[number] ? allowed[number] : 48 << 10)) {
        error = INVALID_VALUE;
    }
    if (!error) {
        pthread_mutex_lock(&one_at_a_time);
        run_kernel(&KERNELS[number - 1], arguments[0], x, shared);
        pthread_mutex_unlock(&one_at_a_time);
    }
    return error;
}

int cuGetErrorString(int error, const char **text) {
    *text = error == OUT_OF_MEMORY ? "out of memory" : "refused by the stand-in";
    return SUCCESS;
}

int cuGetErrorName(int error, const char **text) {
    return cuGetErrorString(error, text);
}

/* --- The run-time compiler: it looks at the options and at the source's kernels only --- */

static int compiled_right;
static const char *compiled_source;

int nvrtcCreateProgram(void **program, const char *source, const char *name, int headers, const char **texts,
                       const char **names) {
    (void)name, (void)texts, (void)names;
    compiled_source = source;
    *program = MODULE;
    return headers ? INVALID_VALUE : SUCCESS;
}

int nvrtcCompileProgram(void *program, int count, const char **options) {
    static const char *const needed[] = {"--fmad=false", "--prec-div=true", "--prec-sqrt=true", "--ftz=false",
                                         "--gpu-architecture=compute_90"};
    int place, each, found = 0;
    for (place = 0; place < (int)(sizeof needed / sizeof *needed); place += 1) {
        for (each = 0; each < count; each += 1) {
            found += !strcmp(needed[place], options[each]);
        }
    }
    compiled_right = found == (int)(sizeof needed / sizeof *needed) && strstr(compiled_source, "KERNEL(");
    return program == MODULE && compiled_right ? SUCCESS : 6;
}

int nvrtcGetPTXSize(void *program, size_t *bytes) {
    *bytes = sizeof "stand-in code";
    return program == MODULE && compiled_right ? SUCCESS : 5;
}

int nvrtcGetPTX(void *program, char *text) {
    memcpy(text, "stand-in code", sizeof "stand-in code");
    return program == MODULE && compiled_right ? SUCCESS : 5;
}

int nvrtcGetProgramLogSize(void *program, size_t *bytes) {
    *bytes = sizeof "wrong options";
    return program == MODULE ? SUCCESS : 5;
}

int nvrtcGetProgramLog(void *program, char *text) {
    memcpy(text, "wrong options", sizeof "wrong options");
    return program == MODULE ? SUCCESS : 5;
}

int nvrtcDestroyProgram(void **program) {
    *program = 0;
    return SUCCESS;
}

const char *nvrtcGetErrorString(int error) {
    return error ? "refused by the stand-in" : "no error";
}
