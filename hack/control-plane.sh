#!/usr/bin/env bash
# Provides etcd, kube-apiserver, kube-controller-manager and kube-scheduler for the tests, and prints the directory
# that holds them. KUBEBUILDER_ASSETS, the ecosystem's convention, is honoured when set. Otherwise they come from Debian: etcd
# from its package, the rest built once (some minutes) from Debian's source package, into the cache.
set -euo pipefail

RELEASE=v1.20.2

if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
    for binary in etcd kube-apiserver kube-controller-manager; do
        if [ ! -x "$KUBEBUILDER_ASSETS/$binary" ]; then
            echo "KUBEBUILDER_ASSETS is $KUBEBUILDER_ASSETS, and $binary is not in it" >&2
            exit 1
        fi
    done
    echo "$KUBEBUILDER_ASSETS"
    exit
fi

cache="${XDG_CACHE_HOME:-$HOME/.cache}/osc"
assets="$cache/control-plane-$RELEASE"
if [ -e "$assets/complete" ]; then
    echo "$assets"
    exit
fi

if ! command -v apt-get >/dev/null; then
    echo "this script builds the control plane from Debian bookworm's packages only; here, set KUBEBUILDER_ASSETS to a" >&2
    echo "directory with etcd, kube-apiserver and kube-controller-manager" >&2
    exit 1
fi
as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
{
    # The sources of the release that packages come from, in a list of our own.
    . /etc/os-release
    if [ "${VERSION_CODENAME:-}" != bookworm ]; then
        echo "this script knows Debian bookworm's packages only; on this system, set KUBEBUILDER_ASSETS to a directory" >&2
        echo "with etcd, kube-apiserver and kube-controller-manager" >&2
        exit 1
    fi
    mirror=$(apt-cache policy | grep -oE 'https?://[^ ]+' | sort | uniq -c | sort -rn | awk 'NR == 1 { print $2 }')
    echo "deb-src $mirror $VERSION_CODENAME main" >"$work/sources.list"
    apt=(-o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o "Dir::State::Lists=$work/lists")
    mkdir -p "$work/lists/partial"
    as_root apt-get update -q
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
        golang-1.19-go golang-github-modern-go-reflect2-dev rsync make gcc libc6-dev dpkg-dev
    as_root apt-get "${apt[@]}" update -q
    cd "$work"
    apt-get "${apt[@]}" source -q kubernetes
    # The binaries alone: no service is set up.
    apt-get download -q etcd-server
    dpkg -x etcd-server_*.deb etcd
    gopath="$work/go/src/k8s.io"
    mkdir -p "$gopath"
    mv kubernetes-*/ "$gopath/kubernetes"
    cd "$gopath/kubernetes"
    # The vendored copy crashes with this Go.
    rm -rf vendor/github.com/modern-go/reflect2
    cp -r /usr/share/gocode/src/github.com/modern-go/reflect2 vendor/github.com/modern-go/
    # Compares reflect.Values where it means values: with this Go, an empty string in a custom resource counts as null.
    validation=vendor/k8s.io/kube-openapi/pkg/validation/validate/type.go
    sed -i 's/if data == nil || reflect.DeepEqual(.*{$/if data == nil {/' "$validation"
    grep -q '	if data == nil {$' "$validation"
    env PATH="/usr/lib/go-1.19/bin:$PATH" GOPATH="$work/go" GO111MODULE=off GOFLAGS= GOCACHE="$work/gocache" \
        KUBE_GIT_VERSION=$RELEASE KUBE_GIT_COMMIT=debian KUBE_GIT_TREE_STATE=clean \
        make WHAT="cmd/kube-apiserver cmd/kube-controller-manager cmd/kube-scheduler"
    mkdir -p "$assets"
    cp _output/bin/kube-apiserver _output/bin/kube-controller-manager _output/bin/kube-scheduler "$assets/"
    cp "$work/etcd/usr/bin/etcd" "$assets/"
    touch "$assets/complete"
} >&2
echo "$assets"
