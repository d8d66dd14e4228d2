#!/usr/bin/env bash
# Installs what the tests need and the machine lacks: kubectl, promtool, git, Python, containerd, libvirt with QEMU, a registry
# and tools for packages (Debian and Ubuntu), a kernel for virtual machines, cargo-deny, the Python client of Kubernetes, and moto.
set -euo pipefail

CARGO_DENY_VERSION=0.20.2
# As in crates/proof/src/conformance/python.rs.
PYTHON_CLIENT_VERSION=37.0.2
# As in crates/cloud/tests/it/cloud.rs.
MOTO_VERSION=5.2.5
tools="${XDG_CACHE_HOME:-$HOME/.cache}/osc/tools"

missing=()
command -v git >/dev/null || missing+=(git)
command -v kubectl >/dev/null || missing+=(kubernetes-client)
command -v promtool >/dev/null || missing+=(prometheus)
# The hosts that the node agent is tested on run the real ones in folders.
command -v containerd >/dev/null || missing+=(containerd)
command -v runc >/dev/null || missing+=(runc)
command -v rpmbuild >/dev/null || missing+=(rpm)
command -v createrepo_c >/dev/null || missing+=(createrepo-c)
command -v dnf >/dev/null || missing+=(dnf)
command -v zstd >/dev/null || missing+=(zstd)
command -v xz >/dev/null || missing+=(xz-utils)
# Pod VMs are started by a libvirt of each test's own, in namespaces.
command -v libvirtd >/dev/null || missing+=(libvirt-daemon libvirt-daemon-driver-qemu libvirt-daemon-config-network)
command -v virsh >/dev/null || missing+=(libvirt-clients)
command -v xmllint >/dev/null || missing+=(libxml2-utils)
command -v dnsmasq >/dev/null || missing+=(dnsmasq-base)
command -v iptables >/dev/null || missing+=(iptables)
command -v ip >/dev/null || missing+=(iproute2)
command -v qemu-system-x86_64 >/dev/null || missing+=(qemu-system-x86)
command -v qemu-img >/dev/null || missing+=(qemu-utils)
[ -e /usr/share/OVMF/OVMF_CODE_4M.fd ] || missing+=(ovmf)
# Their disk: a kernel, busybox that needs no libraries, and a boot loader.
{ command -v busybox >/dev/null && ! ldd "$(command -v busybox)" >/dev/null 2>&1; } || missing+=(busybox-static)
command -v syslinux >/dev/null || missing+=(syslinux)
command -v mcopy >/dev/null || missing+=(mtools)
[ -x /sbin/mkfs.vfat ] || [ -x /usr/sbin/mkfs.vfat ] || missing+=(dosfstools)
command -v cpio >/dev/null || missing+=(cpio)
command -v bsdtar >/dev/null || missing+=(libarchive-tools)
# The other way to a libvirt: by ssh.
[ -x /usr/sbin/sshd ] || missing+=(openssh-server)
command -v ssh >/dev/null || missing+=(openssh-client)
command -v nc >/dev/null || missing+=(netcat-openbsd)
# Images of pod VMs are pulled from a registry on loopback.
command -v docker-registry >/dev/null || missing+=(docker-registry)
# Debian splits what a virtual environment needs from Python itself.
python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# Only programs are wanted of these packages: their services must not start.
without_services() {
    local policy=/usr/sbin/policy-rc.d
    if [ -e "$policy" ]; then
        "$@"
        return
    fi
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 0755 "$policy"
    local result=0
    "$@" || result=$?
    as_root rm -f "$policy"
    return "$result"
}

if [ "${#missing[@]}" -gt 0 ]; then
    if ! command -v apt-get >/dev/null; then
        echo "Missing: ${missing[*]} (names of Debian packages). This script installs them with apt-get only;" >&2
        echo "on this system, install git, kubectl, promtool, python3, containerd, runc, rpmbuild, createrepo_c, dnf, zstd, xz, libvirtd," >&2
        echo "virsh, xmllint, dnsmasq, iptables, qemu-system-x86_64, qemu-img, OVMF, busybox, syslinux, mcopy, mkfs.vfat, cpio, bsdtar, sshd, nc and docker-registry with its own package manager and try again." >&2
        exit 1
    fi
    echo "installing ${missing[*]}"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q
    # QEMU and its tools have to be of one release: where the machine has newer tools than its distribution, they are
    # put back.
    versions=()
    case " ${missing[*]} " in
    *" qemu-system-x86 "*)
        qemu="$(apt-cache madison qemu-system-x86 | awk 'NR == 1 { print $3 }')"
        [ -z "$qemu" ] || versions=("qemu-system-x86=$qemu" "qemu-utils=$qemu")
        ;;
    esac
    without_services as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends --allow-downgrades "${missing[@]}" "${versions[@]}"
    # Nor at the next start of the machine.
    for service in prometheus containerd docker-registry ssh libvirtd virtlogd virtlockd; do
        case "$service ${missing[*]} " in
        *" $service "* | ssh*" openssh-server "* | *virt*" libvirt-daemon "*)
            as_root systemctl disable "$service.service" >/dev/null 2>&1 || true
            as_root systemctl disable "$service.socket" >/dev/null 2>&1 || true
            ;;
        esac
    done
fi

# The kernel of test machines is unpacked and not installed: it is not for this machine.
guest="${XDG_CACHE_HOME:-$HOME/.cache}/osc/guest-kernel"
if [ ! -e "$guest/vmlinuz" ] && command -v apt-get >/dev/null; then
    package="$(apt-cache depends linux-image-amd64 | awk '/Depends: linux-image/ { print $2; exit }')"
    echo "unpacking $package into $guest: the kernel of test machines"
    unpacked="$(mktemp -d)"
    (cd "$unpacked" && apt-get download -q "$package" >/dev/null 2>&1 && dpkg -x ./*.deb root)
    mkdir -p "$guest/modules"
    for module in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci failover net_failover \
        virtio_net scsi_common scsi_mod libata libahci ahci cdrom sr_mod isofs; do
        find "$unpacked/root/lib/modules" -name "$module.ko" -exec cp {} "$guest/modules/" \;
    done
    # Last: it tells that all of it is there.
    cp "$unpacked"/root/boot/vmlinuz-* "$guest/vmlinuz"
    rm -rf "$unpacked"
fi

if ! command -v cargo-deny >/dev/null && [ ! -x "$tools/bin/cargo-deny" ]; then
    echo "installing cargo-deny $CARGO_DENY_VERSION into $tools: some minutes, once"
    CARGO_TARGET_DIR="$tools/target" cargo install --quiet --locked cargo-deny \
        --version "$CARGO_DENY_VERSION" --root "$tools"
    rm -rf "$tools/target"
fi

python="${XDG_CACHE_HOME:-$HOME/.cache}/osc/python-kubernetes-$PYTHON_CLIENT_VERSION"
if ! "$python/bin/python" -c 'import kubernetes' 2>/dev/null; then
    echo "installing the Python client of Kubernetes $PYTHON_CLIENT_VERSION into $python"
    rm -rf "$python"
    python3 -m venv "$python"
    "$python/bin/pip" install --quiet --disable-pip-version-check "kubernetes==$PYTHON_CLIENT_VERSION"
fi

# A server that stands in for AWS.
moto="${XDG_CACHE_HOME:-$HOME/.cache}/osc/python-moto-$MOTO_VERSION"
if ! "$moto/bin/python" -c 'import moto.server, moto.ec2, moto.s3, moto.iam' 2>/dev/null; then
    echo "installing moto $MOTO_VERSION into $moto"
    rm -rf "$moto"
    python3 -m venv "$moto"
    "$moto/bin/pip" install --quiet --disable-pip-version-check "moto[ec2,s3,sts,iam,server]==$MOTO_VERSION"
fi
