#!/bin/sh
# Install Debian packages where that is allowed, else print the one command to type: debian.sh PACKAGE...
# Allowed means: root, or sudo without a password. APT=no forbids it.
set -eu

if [ "${APT:-yes}" != no ] && command -v apt-get >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ]; then
        as_root=
    elif sudo -n true 2>/dev/null; then
        as_root=sudo
    else
        as_root=no
    fi
    if [ "$as_root" != no ]; then
        echo "installing Debian packages: $*"
        export DEBIAN_FRONTEND=noninteractive
        if $as_root apt-get update -qq && $as_root apt-get install -y -qq --no-install-recommends "$@" >/dev/null; then
            exit 0
        fi
    fi
fi

echo "error: these Debian packages are missing and may not be installed from here: $*" >&2
echo "hint: sudo apt install $*" >&2
exit 1
