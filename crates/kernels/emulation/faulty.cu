/* Kernels with faults, to show that the emulation notices them. */

typedef struct {
    u32 *out;
} FaultyArguments;

/* Reads what another thread wrote without waiting for it. */
KERNEL(unordered, FaultyArguments) {
    a.out[threadIdx.x] = threadIdx.x;
    a.out[threadIdx.x] += a.out[(threadIdx.x + 1) % THREADS];
}

/* Writes behind its memory. */
KERNEL(beside, FaultyArguments) {
    a.out[threadIdx.x + 1] = threadIdx.x;
}

/* Writes behind the block's shared memory. */
KERNEL(beyond, FaultyArguments) {
    ARENA(arena);
    ((u32 *)arena)[threadIdx.x + 1] = (u32)(u64)a.out;
}

/* Half of the threads of a warp wait for the block, the others for the warp. */
KERNEL(astray, FaultyArguments) {
    if (threadIdx.x % 2) {
        __syncthreads();
    } else {
        a.out[0] = __ballot_sync(ALL, 1);
    }
}
