/* The emulation as a child process that is told what to do on its standard input: words of eight bytes, an operation and
 * three operands, then data. It answers with a word and data. */

static void take(void *to, unsigned long long bytes) {
    if (bytes && fread(to, bytes, 1, stdin) != 1) {
        fail("the input ends too early");
    }
}

static void answer(unsigned long long word) {
    fwrite(&word, sizeof word, 1, stdout);
}

static void launch(unsigned long long kernel, unsigned long long blocks, unsigned long long shared) {
    static unsigned long long words[64];
    unsigned long long bytes;
    take(&bytes, sizeof bytes);
    if (kernel >= KERNEL_COUNT || bytes > sizeof words || bytes != KERNELS[kernel].bytes) {
        fail("the launch does not fit a kernel");
    }
    take(words, bytes);
    run_kernel(&KERNELS[kernel], words, blocks, shared);
}

int main(void) {
    unsigned long long command[4];
    while (fread(command, sizeof command, 1, stdin) == 1) {
        unsigned long long address = command[1], bytes = command[2], word = 0;
        switch (command[0]) {
        case 'a': word = allocate(bytes); break;
        case 'f': release(address); break;
        case 'l': launch(command[1], command[2], command[3]); break;
        case 's': seed = command[1]; break;
        case 'w':
            check_range(address, bytes);
            take((void *)(uintptr_t)address, bytes);
            break;
        case 'z':
            check_range(address, bytes);
            memset((void *)(uintptr_t)address, 0, bytes);
            break;
        case 'c':
            check_range(address, bytes);
            check_range(command[3], bytes);
            memmove((void *)(uintptr_t)address, (void *)(uintptr_t)command[3], bytes);
            break;
        case 'r': check_range(address, bytes); break;
        default: fail("no such command");
        }
        answer(word);
        if (command[0] == 'r') {
            fwrite((void *)(uintptr_t)address, 1, bytes, stdout);
        }
        fflush(stdout);
    }
    return 0;
}
