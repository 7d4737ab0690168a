#!/usr/bin/env bash
# Runs the tests of pactum-compress on an emulated processor with AVX-512, for machines that have none: Bochs starts a Linux kernel whose only
# program they are. It takes some minutes.
#
#     benches/avx512.sh VMLINUZ [FILTER OR OPTION OF THE TESTS]...
#
# VMLINUZ is a kernel, such as /boot/vmlinuz-* of Debian's linux-image-cloud-amd64. From Debian come the other tools: bochs bochs-term bochsbios
# vgabios isolinux syslinux-common xorriso cpio gcc bsdutils.
set -euo pipefail

[ $# -ge 1 ] || { sed -n 's/^# \{0,1\}//p' "$0" | head -8; exit 2; }
kernel=$(realpath "$1")
shift
cd "$(dirname "$0")/.."
for tool in bochs xorriso cpio gcc script; do
    command -v "$tool" > /dev/null || { echo "$tool is missing; see the head of $0" >&2; exit 2; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

echo "building the tests, linked statically"
# Bochs takes a gather by one of the registers 16 to 31 for none: the compiler makes none of loops then.
RUSTFLAGS="-C target-feature=+crt-static,+prefer-no-gather" cargo test -q -p pactum-compress --lib --release --no-run \
    --target x86_64-unknown-linux-gnu --message-format json \
    | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -1 > "$work/path"
mkdir -p "$work"/disk/{dev,proc,tmp} "$work/iso/isolinux"
cp "$(cat "$work/path")" "$work/disk/tests"

# The first process, which starts the tests, says how they ended, and switches the machine off.
arguments=$(printf '"%s",' --test-threads=1 "$@")
cat > "$work/init.c" << END
#include <stdio.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void) {
    printf("AVX-512 F %d, BW %d\n", !!__builtin_cpu_supports("avx512f"), !!__builtin_cpu_supports("avx512bw"));
    fflush(stdout);
    mount("proc", "/proc", "proc", 0, 0);
    mount("dev", "/dev", "devtmpfs", 0, 0);
    if (fork() == 0) {
        char *arguments[] = {"/tests", $arguments 0}, *environment[] = {"RAYON_NUM_THREADS=2", "PROPTEST_CASES=${PROPTEST_CASES:-24}", 0};
        execve("/tests", arguments, environment);
        _exit(127);
    }
    int status = 0;
    wait(&status);
    printf("status %d\n", status);
    fflush(stdout);
    sleep(1);
    reboot(RB_POWER_OFF);
}
END
gcc -static -O1 -o "$work/disk/init" "$work/init.c"
(cd "$work/disk" && find . | cpio -o -H newc 2> /dev/null | gzip -1 > ../iso/initrd.gz)
cp "$kernel" "$work/iso/vmlinuz"
cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$work/iso/isolinux/"
# Without XSAVES and XSAVEC (323 and 321), of which the emulated processor says something that the kernel does not believe.
cat > "$work/iso/isolinux/isolinux.cfg" << END
DEFAULT tests
TIMEOUT 1
LABEL tests
 KERNEL /vmlinuz
 INITRD /initrd.gz
 APPEND console=ttyS0 quiet panic=1 nokaslr mitigations=off tsc=reliable lpj=1000000 clearcpuid=323,321
END
xorriso -as mkisofs -quiet -o "$work/tests.iso" -b isolinux/isolinux.bin -c isolinux/boot.cat -no-emul-boot \
    -boot-load-size 4 -boot-info-table "$work/iso" 2> /dev/null

cat > "$work/bochsrc" << END
megs: 1024
cpu: model=corei7_skylake_x, count=1, ips=100000000, reset_on_triple_fault=0
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/vgabios/vgabios.bin
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path=$work/tests.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=$work/serial
display_library: term
log: $work/log
clock: sync=none
panic: action=fatal
plugin_ctrl: sb16=0, es1370=0, voodoo=0, usb_uhci=0, ne2k=0, e1000=0, gameport=0, speaker=0
sound: driver=dummy
END
# Debian's Bochs has a debugger, which is to be told to go on, and wants a terminal.
echo c > "$work/commands"
touch "$work/serial"
tail -f "$work/serial" &
follower=$!
script -qfc "env TERM=xterm bochs -q -f $work/bochsrc -rc $work/commands" /dev/null < /dev/null > "$work/terminal" 2>&1 || true
sleep 1
kill "$follower"
grep -q "^AVX-512 F 1, BW 1" "$work/serial" && grep -q "^status 0" "$work/serial"
