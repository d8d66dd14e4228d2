#!/bin/sh
# Makes a disk that starts in seconds: a kernel, and busybox that asks for an address and shows what cloud-init would read.
# $1: where the disk goes. $2: the directory with the kernel. $3: a directory for what is in between.
set -eu
disk="$1" kernel="$2" work="$3"
mkdir -p "$work/root/bin" "$work/root/modules"
cp "$(command -v busybox)" "$work/root/bin/busybox"
cp "$kernel"/modules/*.ko "$work/root/modules/"
cat >"$work/root/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /seed /tmp
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci failover net_failover virtio_net \
    scsi_common scsi_mod libata libahci ahci cdrom sr_mod isofs; do
    insmod "/modules/$module.ko"
done
ifconfig eth0 up
udhcpc -i eth0 -n -q -t 20 -T 1 -s /lease
for _ in 1 2 3 4 5 6 7 8 9 10; do
    mount -t iso9660 -o ro /dev/sr0 /seed && break
    sleep 1
done
exec httpd -f -p 80 -h /seed
INIT
cat >"$work/root/lease" <<'LEASE'
#!/bin/busybox sh
[ "$1" != bound ] || ifconfig "$interface" "$ip" netmask "$subnet"
LEASE
mkdir -p "$work/root/bin"
ln -sf busybox "$work/root/bin/sh"
chmod 0755 "$work/root/init" "$work/root/lease"
(cd "$work/root" && find . | cpio -o -H newc --quiet | gzip -1) >"$work/initrd"
cat >"$work/syslinux.cfg" <<'CFG'
default pod
label pod
  kernel vmlinuz
  initrd initrd
  append console=ttyS0 quiet panic=1
CFG
raw="$work/disk.raw"
truncate -s 64M "$raw"
PATH="$PATH:/sbin:/usr/sbin"
mkfs.vfat "$raw" >/dev/null
mcopy -i "$raw" "$kernel/vmlinuz" "$work/initrd" "$work/syslinux.cfg" ::
syslinux --install "$raw"
qemu-img convert -f raw -O qcow2 "$raw" "$disk"
