#!/usr/bin/env bash
# Says why the tests with a real Milvus cannot run on this machine, and fails then. The server is a Python package of
# requirements/dev.txt (60 MB, Linux on x86_64). It would listen on every interface, so it runs in a network namespace
# without any but loopback, which this user must be allowed to make.
set -euo pipefail
if [ "$(uname -s) $(uname -m)" != "Linux x86_64" ]; then
    echo "no tests with a real Milvus: its package is for Linux on x86_64, this is $(uname -s) on $(uname -m)" >&2
    exit 1
fi
namespace=(unshare --net --)
if [ "$(id -u)" != 0 ]; then
    namespace=(unshare --user --map-root-user --net --)
fi
if ! "${namespace[@]}" true; then
    echo "no tests with a real Milvus: this user may not make network namespaces (${namespace[*]})" >&2
    exit 1
fi
