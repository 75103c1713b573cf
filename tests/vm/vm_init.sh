#!/bin/sh
# The whole of a test's guest.  It takes one command a line from its second serial port, runs it, and answers with what
# the command said and a last line "done STATUS".  What runs beside that reports by lines of its own: see vm_machine.py.

export PATH=/bin
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmp /run
for module in $(cat /modules/order); do insmod "/modules/$module"; done
boot=$(cat /proc/sys/kernel/random/boot_id)
block=4096
batch=8     # blocks of a stream between two reports
rest=20000  # microseconds between two reports: a guest is not alone on its machine

# disk SERIAL: its device, as soon as it is there.
disk() {
    local tries=0 each
    while [ $((tries += 1)) -le 600 ]; do
        for each in /sys/block/vd*; do
            [ "$(cat "$each/serial" 2>/dev/null)" = "$1" ] && echo "/dev/${each##*/}" && return
        done
        usleep 50000
    done
    return 1
}

# size SERIAL BYTES: wait until the disk is that large.
size() {
    local device tries=0 seen=0
    device=$(disk "$1") || return
    while [ $((tries += 1)) -le 600 ]; do
        seen=$(($(cat "/sys/block/${device##*/}/size") * 512))
        [ "$seen" = "$2" ] && echo "size $seen" && return
        usleep 50000
    done
    echo "size $seen"
    return 1
}

# adler TEXT: the two halves of its adler32, as decimal numbers.
adler() {
    awk -v text="$1" 'BEGIN {
        for (i = 32; i < 127; i++) code[sprintf("%c", i)] = i
        a = 1
        for (i = 1; i <= length(text); i++) { a = (a + code[substr(text, i, 1)]) % 65521; b = (b + a) % 65521 }
        print a, b
    }'
}
head="sp $boot "
halves=$(adler "$head")

# blocks FIRST COUNT: numbered blocks; each is one line 64 times, the line ends with its own adler32.
blocks() {
    awk -v head="$head" -v halves="$halves" -v first="$1" -v count="$2" 'BEGIN {
        split(halves, start, " ")
        for (n = first; n < first + count; n++) {
            digits = sprintf("%014d ", n)
            a = start[1]; b = start[2]
            for (i = 1; i <= 15; i++) {
                a = (a + (i < 15 ? index("0123456789", substr(digits, i, 1)) + 47 : 32)) % 65521
                b = (b + a) % 65521
            }
            line = sprintf("%s%s%04x%04x\n", head, digits, b, a)
            line = line line; line = line line; line = line line
            line = line line; line = line line; line = line line
            printf "%s", line
        }
    }'
}

# stream SERIAL FIRST [LIMIT]: write blocks from this place on, past all caches, each before the next one.  It says "stream
# SERIAL N" when all blocks below N are on the disk, "broken SERIAL N" and no more when a write failed.
stream() {
    local device next=$2
    device=$(disk "$1") || return
    while [ "$next" -lt "${3:-200000}" ] && [ ! -e "/run/stop-$1" ]; do
        if ! blocks "$next" "$batch" | dd of="$device" bs=$block seek="$next" iflag=fullblock oflag=direct conv=notrunc 2>/run/dd
        then
            echo "broken $1 $next"
            return 1
        fi
        echo "stream $1 $((next += batch))"
        usleep "$rest"
    done
    echo "ended $1 $next"
}

# halt SERIAL: end its stream behind what is under way.
halt() { touch "/run/stop-$1"; }

# look SERIAL FIRST: read the disk past all caches; tell how many blocks there are from this place on, and of whom.
look() {
    local device
    device=$(disk "$1") || return
    dd if="$device" bs=$block skip="$2" count=200000 iflag=direct 2>/dev/null | awk -v number="$2" '
        BEGIN { wanted = sprintf("%014d", number) }
        $1 != "sp" || $3 != wanted { exit }
        lines == 0 { whose[$2]++ }
        ++lines == 64 { lines = 0; wanted = sprintf("%014d", ++number) }
        END { for (boot in whose) print "of", boot, whose[boot]; print "next", number }'
}

# count ONE OTHER: write a number to the one disk and then to the other, past all caches and each when the one before is
# written; then the next number.  It says "count ONE N" when N is on both disks, "broken ONE N" and no more when a write failed.
count() {
    local one other device n=0
    one=$(disk "$1") && other=$(disk "$2") || return
    while [ ! -e "/run/stop-$1" ]; do
        n=$((n + 1))
        for device in "$one" "$other"; do
            if ! printf "%$((block - 1))d\n" "$n" | dd of="$device" bs=$block iflag=fullblock oflag=direct conv=notrunc 2>/run/dd
            then
                echo "broken $1 $n"
                return 1
            fi
        done
        echo "count $1 $n"
    done
    echo "ended $1 $n"
}

# counted SERIAL: read its number, past all caches.
counted() {
    local device
    device=$(disk "$1") || return
    dd if="$device" bs=$block count=1 iflag=direct 2>/dev/null | tr -d " "
}

# churn SERIAL NAME: work on a mounted file system: files are made, renamed, removed.  It says "churn NAME N" when the Nth
# file is on the disk, "spoilt NAME N" and no more when that failed.
churn() {
    local n=0 folder=/run/$1/$2
    mkdir -p "$folder"
    while [ ! -e "/run/stop-$2" ]; do
        if ! { mkdir -p "$folder/$((n % 5))" && yes "$2 $n" | dd of="$folder/new" count=16 conv=fsync 2>/run/dd-files &&
            mv "$folder/new" "$folder/$((n % 5))/$n" && sync; }
        then
            echo "spoilt $2 $n"
            return 1
        fi
        [ "$n" -ge 7 ] && rm -f "$folder/$(((n - 7) % 5))/$((n - 7))"
        echo "churn $2 $((n += 1))"
        usleep "$rest"
    done
    echo "ended $2 $n"
}

# mounted SERIAL: mount its ext4 (which replays its journal).
mounted() {
    local device
    device=$(disk "$1") || return
    mkdir -p "/run/$1"
    mount -t ext4 -o errors=remount-ro "$device" "/run/$1"
}

# agent: the guest agent, as distributions start it; there is one where libvirt's VMs run.
agent() {
    local port
    port=$(grep -l org.qemu.guest_agent.0 /sys/class/virtio-ports/*/name) || return
    port=${port%/name}
    qemu-ga --method virtio-serial --path "/dev/${port##*/}" --statedir /run --logfile /run/agent </dev/null >/run/agent 2>&1 &
}

[ -e /bin/qemu-ga ] && agent
exec </dev/ttyS1 >/dev/ttyS1 2>&1
stty -F /dev/ttyS1 raw -echo 2>/dev/null
echo "ready $boot"
# By another process: the shell's own read forgets half a line when something in the background ends.
while line=$(head -n 1) && [ -n "$line" ]; do
    eval "$line"
    echo "done $?"
done
