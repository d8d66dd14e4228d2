#!/bin/bash
# A KVM host for one test: libvirt with a network and a file system of its own. Runs as the first process of a process
# namespace: when it ends, everything in it ends. bash and not sh, because it reaps what its children leave.
# Words on standard input say what happens; each is answered.
# $1: an empty directory that the test can see, too. $2: one for what libvirt remembers of QEMU, of all tests.
set -eu
dir="$1" cache="$2"
mount --make-rprivate /
mkdir -p "$dir/etc" "$dir/sock" "$dir/pool" "$dir/log" /run/libvirt /var/lib/libvirt /var/cache/libvirt /var/log/libvirt
mount -t proc proc /proc
cp -r /etc/libvirt/. "$dir/etc/"
mount --bind "$dir/etc" /etc/libvirt
for own in /run/libvirt /var/lib/libvirt /var/log/libvirt; do
    mount -t tmpfs tmpfs "$own"
done
mount --bind "$cache" /var/cache/libvirt
mkdir -p /var/lib/libvirt/images
# libvirt's package makes this user where it is installed as a service.
for file in passwd group; do
    cp "/etc/$file" "$dir/$file"
    mount --bind "$dir/$file" "/etc/$file"
done
grep -q '^libvirt-qemu:' /etc/passwd || echo 'libvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin' >>/etc/passwd
grep -q '^libvirt-qemu:' /etc/group || echo 'libvirt-qemu:x:64055:' >>/etc/group
# Emulation everywhere: what the tests see does not depend on the machine that they run on.
[ ! -e /dev/kvm ] || mount --bind /dev/null /dev/kvm
rm -rf /etc/libvirt/qemu/networks
cat >/etc/libvirt/qemu.conf <<CONF
user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = [ ]
namespaces = [ ]
stdio_handler = "file"
remember_owner = 0
CONF
cat >"$dir/libvirtd.conf" <<CONF
unix_sock_dir = "$dir/sock"
auth_unix_ro = "none"
auth_unix_rw = "none"
CONF
ip link set lo up
start() {
    libvirtd -f "$dir/libvirtd.conf" -p "$dir/libvirtd.pid" >>"$dir/log/libvirtd.log" 2>&1 &
    daemon=$!
    for _ in $(seq 200); do
        [ ! -S "$dir/sock/libvirt-sock" ] || ! virsh -c "qemu+unix:///system?socket=$dir/sock/libvirt-sock" version \
            >/dev/null 2>&1 || return 0
        sleep 0.1
    done
    return 1
}
stop() {
    kill "$daemon"
    wait "$daemon" || true
    rm -f "$dir/sock/libvirt-sock"
}
start && echo ready || echo failed
while read -r word rest; do
    case "$word" in
    start) start && echo done || echo failed ;;
    stop)
        stop
        echo done
        ;;
    fetch)
        # An address and a path. bash itself speaks TCP; what comes after the first empty line is what was asked for.
        if timeout 20 bash -c 'exec 3<>"/dev/tcp/$0/80" && printf "GET %s HTTP/1.0\r\n\r\n" "$1" >&3 && cat <&3' $rest \
            2>/dev/null >"$dir/answer" && grep -q "^HTTP/1.* 200 " "$dir/answer"; then
            sed '1,/^\r*$/d' "$dir/answer" >"$dir/fetched"
            echo done
        else
            echo failed
        fi
        ;;
    nvram) ls /var/lib/libvirt/qemu/nvram | wc -l ;;
    *) echo unknown ;;
    esac
done
