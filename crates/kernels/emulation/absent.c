/* A driver of NVIDIA's without a device: as much of one as cuDNN needs to plan for a device that is not here. It keeps the
 * code that the library compiles nowhere, and runs nothing.
 *
 *     cc -shared -fPIC -o libcuda.so.1 absent.c */

enum { SUCCESS = 0, NO_DEVICE = 100, VERSION = 12090, REGISTERS = 64 };

/* Calls that need a device. */
#define REFUSED(name) \
    int name(void) { \
        return NO_DEVICE; \
    }

/* Calls that tell of success and do nothing. */
#define DONE(name) \
    int name(void) { \
        return SUCCESS; \
    }

/* Calls that give a handle. */
#define GIVEN(name) \
    int name(void **handle) { \
        *handle = handle; \
        return SUCCESS; \
    }

int cuDriverGetVersion(int *version) {
    *version = VERSION;
    return SUCCESS;
}

int cuKernelGetAttribute(int *value) {
    *value = REGISTERS;
    return SUCCESS;
}

int cuFuncGetAttribute(int *value) {
    return cuKernelGetAttribute(value);
}

GIVEN(cuLibraryLoadData)
GIVEN(cuLibraryGetKernel)
GIVEN(cuKernelGetFunction)
GIVEN(cuModuleLoadData)
GIVEN(cuModuleGetFunction)
DONE(cuLibraryUnload)
DONE(cuModuleUnload)
DONE(cuKernelSetAttribute)
DONE(cuFuncSetAttribute)
DONE(cuTensorMapEncodeTiled)
DONE(cuTensorMapEncodeIm2col)
REFUSED(cuInit)
REFUSED(cuCtxGetCurrent)
REFUSED(cuCtxGetLimit)
REFUSED(cuCtxPopCurrent)
REFUSED(cuCtxPushCurrent)
REFUSED(cuDeviceGet)
REFUSED(cuDeviceGetCount)
REFUSED(cuGetErrorName)
REFUSED(cuGetErrorString)
REFUSED(cuGetProcAddress_v2)
REFUSED(cuLaunchCooperativeKernel)
REFUSED(cuLaunchKernel)
REFUSED(cuLaunchKernelEx)
REFUSED(cuLibraryLoadFromFile)
REFUSED(cuLinkAddData)
REFUSED(cuLinkComplete)
REFUSED(cuLinkCreate)
REFUSED(cuLinkDestroy)
REFUSED(cuOccupancyMaxPotentialClusterSize)
REFUSED(cuStreamGetCtx)
