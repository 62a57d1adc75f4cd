#!/usr/bin/env bash
# Puts Debian's prometheus and promtool where the tests find them: $SIGHTLINE_HOME/tools/prometheus. Needs no root and
# starts no service, as `apt-get install prometheus` would; needs apt's package lists (`apt-get update`) and 100 MB.
set -euo pipefail
home=${SIGHTLINE_HOME:-$(cd "$(dirname "$0")/.." && pwd)/.sightline}
tools=$home/tools/prometheus
if [ -x "$tools/usr/bin/prometheus" ]; then
    exit 0
fi
mkdir -p "$home/tools"
work=$(mktemp -d "$home/tools/download.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get download prometheus
dpkg-deb --extract prometheus_*.deb unpacked
mv unpacked "$tools"
"$tools/usr/bin/prometheus" --version
