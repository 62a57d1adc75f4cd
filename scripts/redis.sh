#!/usr/bin/env bash
# Puts Debian's redis-server where the tests find it: $SIGHTLINE_HOME/tools/redis. Needs no root and starts no service,
# as `apt-get install redis-server` would; needs apt's package lists (`apt-get update`) and 10 MB.
set -euo pipefail
home=${SIGHTLINE_HOME:-$(cd "$(dirname "$0")/.." && pwd)/.sightline}
tools=$home/tools/redis
if [ -x "$tools/redis-server" ]; then
    exit 0
fi
mkdir -p "$home/tools"
work=$(mktemp -d "$home/tools/download.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
# The program is in redis-tools, and redis-server has a link to it. The libraries are those that a small image lacks.
apt-get download --quiet --quiet redis-server redis-tools liblzf1 libjemalloc2 libatomic1
for package in *.deb; do
    dpkg-deb --extract "$package" unpacked
done
cat >unpacked/redis-server <<'WRAPPER'
#!/usr/bin/env bash
here=$(cd "$(dirname "$0")" && pwd)
libraries=$(find "$here/usr/lib" -name '*.so*' -printf '%h\n' | sort -u | paste -sd:)
export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
exec -a redis-server "$here/usr/bin/redis-check-rdb" "$@"
WRAPPER
chmod +x unpacked/redis-server
mv unpacked "$tools"
"$tools/redis-server" --version
