#!/usr/bin/env bash
# Collects what a machine without internet needs to run load_tests/gpu/run.sh, in parts that can be carried one by one.
# Rule: run it where PyPI is near; it builds nothing but Sightline's own wheel and leaves the checkout as it was.
set -euo pipefail

usage() {
    cat <<'END'
usage: load_tests/gpu/pack.sh [options]

Groups, each in parts of its own:
  server      Sightline, what its server needs, what the load tests need
  faiss       the wheel of FAISS for --extra
  engine      tritonserver, ONNX Runtime, numpy 1: the embedded engine's own packages
  libs-cu12   NVIDIA's CUDA 12 libraries, for faiss-gpu
  libs-cu13   NVIDIA's CUDA 13 libraries, for ONNX Runtime and faiss-gpu-cuvs
  libs-cuvs   cuVS and what it is made of, for faiss-gpu-cuvs
  models      model_repository/*/1
  catalog     the showroom's catalog
  python      this machine's interpreter with its shared library (only with --interpreter)

  --extra NAME      cpu, gpu (faiss-gpu, CUDA 12) or gpu-cuvs (faiss-gpu-cuvs, CUDA 13); default gpu
  --python X.Y      Python of the other machine, 3.11 or 3.12; default 3.12
  --only A,B        make these groups only; the others stay as an earlier run made them
  --interpreter     pack this interpreter too, where the other machine's Python has no libpython; sets --python
  --part-mib N      largest part, 1 to 60; default 50, which leaves room for the checkout in a carrier of 64 MiB
  --out DIR         default gpu-pack (ignored by git)
  --catalog DIR     default $SIGHTLINE_HOME/catalogs/showroom
  --help
END
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
extra=gpu python_version=3.12 only="" interpreter=no part_mib=50 out=gpu-pack
home=${SIGHTLINE_HOME:-$root/.sightline}
catalog=$home/catalogs/showroom
python=${PYTHON:-$root/.venv/bin/python}

fail() {
    echo "pack.sh: $1" >&2
    exit 2
}

while (($#)); do
    case $1 in
        --extra) extra=${2:?--extra NAME}; shift 2 ;;
        --python) python_version=${2:?--python X.Y}; shift 2 ;;
        --only) only=${2:?--only A,B}; shift 2 ;;
        --interpreter) interpreter=yes; shift ;;
        --part-mib) part_mib=${2:?--part-mib N}; shift 2 ;;
        --out) out=${2:?--out DIR}; shift 2 ;;
        --catalog) catalog=${2:?--catalog DIR}; shift 2 ;;
        --help | -h) usage; exit 0 ;;
        *) usage >&2; fail "unknown option $1" ;;
    esac
done

case $extra in cpu | gpu | gpu-cuvs) ;; *) fail "no extra $extra" ;; esac
[[ -x $python ]] || fail "no Python at $python; run make setup, or set PYTHON"
if [[ $interpreter == yes ]]; then
    python_version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

wanted() { [[ -z $only || ,$only, == *,$1,* ]]; }

# pip matches manylinux tags one by one, so each that a wheel may carry is named.
target=(--only-binary=:all: --implementation cp --python-version "$python_version")
for tag in manylinux1 manylinux2010 manylinux2014 manylinux_2_17 manylinux_2_24 manylinux_2_27 manylinux_2_28 \
    manylinux_2_31 manylinux_2_34 manylinux_2_35; do
    target+=(--platform "${tag}_x86_64")
done
download() { "$python" -m pip download --quiet --disable-pip-version-check "${target[@]}" "$@"; }

# Sorts wheels into the groups; what several ask for is carried once.
sort_wheels() {
    local wheel name group
    for wheel in "$1"/*.whl; do
        name=$(basename "$wheel")
        case $name in
            faiss*) group=faiss ;;
            nvidia_pytriton*) group=$2 ;;
            nvidia_*_cu12-*) group=libs-cu12 ;;
            libcuvs* | libraft* | librmm* | rapids*) group=libs-cuvs ;;
            nvidia_* | cuda_*) group=libs-cu13 ;;
            *) group=$2 ;;
        esac
        mkdir -p "$work/$group"
        mv -f "$wheel" "$work/$group/"
    done
}

if wanted server || wanted faiss || wanted libs-cu12 || wanted libs-cu13 || wanted libs-cuvs; then
    echo "pack.sh: Sightline[$extra] for Python $python_version" >&2
    "$python" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$work/own" "$root"
    own=$(echo "$work"/own/sightline-*.whl)
    download --no-deps --require-hashes --dest "$work/all" --requirement "requirements/$extra.txt"
    # What the load tests import besides, as locked.
    "$python" - requirements/dev.txt hdrhistogram psutil >"$work/load_tests.txt" <<'END'
import pathlib, re, sys
blocks = re.split(r"\n(?=\S)", pathlib.Path(sys.argv[1]).read_text())
print("\n".join(block for block in blocks if block.split("==")[0] in sys.argv[2:]))
END
    download --no-deps --require-hashes --dest "$work/all" --requirement "$work/load_tests.txt"
    mv "$work"/own/*.whl "$work/all/"
    sort_wheels "$work/all" server
fi
if wanted engine || wanted libs-cu13; then
    build=$([[ $extra == cpu ]] && echo cpu || echo cuda)
    echo "pack.sh: the embedded engine, build $build" >&2
    "$python" -c "from sightline_server.embedded.installation import requirements; print(requirements('$build'))" \
        >"$work/engine.txt"
    download --no-deps --require-hashes --dest "$work/engine-all" --requirement "$work/engine.txt"
    sort_wheels "$work/engine-all" engine
fi
if wanted models; then
    for model in detector embedder; do
        [[ -f model_repository/$model/1/model.onnx ]] || fail "no model_repository/$model/1/model.onnx; run make setup"
        mkdir -p "$work/models/$model/1"
        cp model_repository/"$model"/1/* "$work/models/$model/1/"
    done
fi
if wanted catalog; then
    [[ -d $catalog ]] || fail "no catalog in $catalog; run sightline demo --catalog-only"
    mkdir -p "$work/catalog"
    cp -r "$catalog" "$work/catalog/showroom"
fi
if [[ $interpreter == yes ]] && wanted python; then
    base=$("$python" -c 'import sys; print(sys.base_prefix)')
    mkdir -p "$work/python/bin" "$work/python/lib"
    cp -L "$base/bin/python$python_version" "$work/python/bin/python3"
    cp -L "$base"/lib/libpython"$python_version".so.1.0 "$work/python/lib/" || fail "no shared libpython in $base/lib"
    tar -C "$base/lib" --exclude=site-packages --exclude=test --exclude=tests --exclude=__pycache__ \
        --exclude='config-*' --exclude=idlelib --exclude=tkinter --exclude=turtledemo --exclude='*.a' \
        -cf - "python$python_version" | tar -C "$work/python/lib" -xf -
fi

groups=()
for name in server faiss engine libs-cu12 libs-cu13 libs-cuvs models catalog python; do
    if [[ -d $work/$name ]] && wanted "$name"; then
        groups+=("$name=$work/$name")
    fi
done
((${#groups[@]})) || fail "nothing to pack: --only $only"
PYTHONPATH=$root "$python" -m load_tests.gpu.parts split --out "$out" --part-mib "$part_mib" \
    --fact "python=$python_version" --fact "extra=$extra" --fact "made=$(date -u +%Y-%m-%dT%H:%M:%SZ)" \
    --fact "commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)" "${groups[@]}"
du -sh "$out" >&2
