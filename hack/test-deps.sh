#!/usr/bin/env bash
# Installs what the tests need and the machine lacks: kubectl, promtool, git, Python, containerd, tools for packages and
# disks, a registry (Debian and Ubuntu), cargo-deny, the Python client of Kubernetes, and moto.
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
# Images of pod VMs: disks are converted, and pulled from a registry on loopback.
command -v qemu-img >/dev/null || missing+=(qemu-utils)
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
        echo "on this system, install git, kubectl, promtool, python3, containerd, runc, rpmbuild, createrepo_c, dnf, zstd, xz, qemu-img and docker-registry with its own package manager and try again." >&2
        exit 1
    fi
    echo "installing ${missing[*]}"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q
    without_services as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends "${missing[@]}"
    # Nor at the next start of the machine.
    for service in prometheus containerd docker-registry; do
        case " ${missing[*]} " in
        *" $service "*) as_root systemctl disable "$service.service" >/dev/null 2>&1 || true ;;
        esac
    done
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
