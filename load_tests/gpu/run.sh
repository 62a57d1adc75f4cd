#!/usr/bin/env bash
# What `make bench` does here, on a GPU machine: driver check, FAISS on the GPU, both models on it, the whole path.
# Rule: the driver is checked before anything else; every step leaves its JSON in the output folder, also when a later
# one fails; the last line is one JSON object.
set -euo pipefail

usage() {
    cat <<'END'
usage: load_tests/gpu/run.sh [options]

  --cpu              small sizes on the CPU, about three minutes on two cores: shows that everything works
  --only A,B         of the steps: choice, faiss_search, living, models, path, plans, quality
  --join             first join the pack and make an environment of it, without internet
  --pack DIR         the pack (pack.sh made it); default gpu-pack
  --also-pack DIR    with --join: a second pack with another FAISS (groups faiss and its libs), checked for what works
  --nvidia-from DIR  a site-packages with NVIDIA's libraries (nvidia/), in place of the groups libs-cu12 and libs-cu13
  --cupy-from DIR    a site-packages with CuPy for the same Python; without it the vectors are made on the host
  --limit-s N        seconds for all steps together; what is under way then is stopped; default 560
  --catalog DIR      default: the pack's, else $SIGHTLINE_HOME/catalogs/showroom
  --out DIR          default $OUT, else gpu-results (ignored by git)
  --help

Without --join it uses .venv (make env EXTRA=gpu) and the engine in $SIGHTLINE_HOME (sightline engine install --gpu).
Exit codes: 0 all well, 1 a step failed, 2 this machine cannot run it (the reason is on standard error).
END
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
out=${OUT:-gpu-results} pack=gpu-pack also_pack="" nvidia_from="" catalog="" only="" limit_s=560 join=no device=gpu
mode=()

fail() {
    echo "run.sh: $1" >&2
    exit 2
}

while (($#)); do
    case $1 in
        --cpu) device=cpu; mode=(--cpu); shift ;;
        --only) only=${2:?--only A,B}; shift 2 ;;
        --join) join=yes; shift ;;
        --pack) pack=${2:?--pack DIR}; shift 2 ;;
        --also-pack) also_pack=${2:?--also-pack DIR}; shift 2 ;;
        --nvidia-from) nvidia_from=${2:?--nvidia-from DIR}; shift 2 ;;
        --cupy-from) export CUPY_SITE=${2:?--cupy-from DIR}; shift 2 ;;
        --limit-s) limit_s=${2:?--limit-s N}; shift 2 ;;
        --catalog) catalog=${2:?--catalog DIR}; shift 2 ;;
        --out) out=${2:?--out DIR}; shift 2 ;;
        --help | -h) usage; exit 0 ;;
        *) usage >&2; fail "unknown option $1" ;;
    esac
done
for step in ${only//,/ }; do
    case $step in choice | faiss_search | living | models | path | plans | quality) ;; *) fail "no step $step" ;; esac
done

mkdir -p "$out"
pack=$(realpath -m "$pack")
# The code is the checkout's, whatever release a pack's wheel is of; the wheel brings the commands.
export PYTHONPATH=$root:$root/server:$root/protos/python:$root/clients/python
export PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PIP_DISABLE_PIP_VERSION_CHECK=1

show_hardware() {
    echo "run.sh: $(nproc) cores, $(awk '/MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo), $(uname -sr)" >&2
    if command -v nvidia-smi >/dev/null; then
        nvidia-smi --query-gpu=name,memory.total,driver_version,compute_cap --format=csv,noheader >&2 || true
    fi
}

# The carried interpreter where there is one, else the machine's.
bare_python() {
    if [[ -x $pack/joined/python/bin/python3 ]]; then
        export LD_LIBRARY_PATH=$pack/joined/python/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
        base_python=$pack/joined/python/bin/python3
    else
        base_python=$(command -v python3) || fail "no python3"
    fi
    "$base_python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "$base_python is older than 3.11"
}

site_of() { "$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }

# make_venv FOLDER WHEELS...: pip runs from its wheel, so that a machine without pip or ensurepip is enough.
make_venv() {
    local place=$1 pip_wheels
    shift
    if [[ ! -f $place/.made ]]; then
        echo "run.sh: making $place of $# wheels" >&2
        "$base_python" -m venv --without-pip --clear "$place"
        pip_wheels=("$pack"/joined/server/pip-*.whl)
        PYTHONPATH="" "$place/bin/python" "${pip_wheels[0]}/pip" install --quiet --no-index --no-deps --no-compile "$@"
        touch "$place/.made"
    fi
    if [[ -n $nvidia_from ]]; then
        link_nvidia "$(site_of "$place")/nvidia"
    fi
}

# Shows NVIDIA's libraries of another environment to this one.
link_nvidia() {
    local folder
    mkdir -p "$1"
    for folder in "$nvidia_from"/nvidia/*/; do
        [[ -e $1/$(basename "$folder") ]] || ln -s "${folder%/}" "$1/$(basename "$folder")"
    done
}

wheels_of() { find "$@" -name '*.whl' 2>/dev/null | sort; }

join_pack() {
    local wheels others place=$pack/joined
    python3 -m load_tests.gpu.parts join --parts "$pack" --out "$place" >&2 || fail "the pack in $pack cannot be joined"
    bare_python
    check_driver --wheels "$place"
    mapfile -t wheels < <(wheels_of "$place/server" "$place/faiss" "$place"/libs-*)
    make_venv "$pack/venv" "${wheels[@]}"
    export SIGHTLINE_HOME=$pack/home
    PIP_NO_INDEX=1 PIP_FIND_LINKS=$place/engine "$pack/venv/bin/sightline" engine install "--$device" --no-nvidia >&2 ||
        echo "run.sh: no embedded engine here; the steps models and path will say so" >&2
    for model in detector embedder; do
        mkdir -p "model_repository/$model/1"
        cp -n "$place/models/$model/1/"* "model_repository/$model/1/" 2>/dev/null || true
    done
    if [[ -n $also_pack ]]; then
        others=$(realpath -m "$also_pack")
        "$base_python" -m load_tests.gpu.parts join --parts "$others" --out "$others/joined" >&2
        mapfile -t wheels < <(wheels_of "$place/server" "$others/joined/faiss" "$others"/joined/libs-*)
        make_venv "$others/venv" "${wheels[@]}"
    fi
}

check_driver() {
    [[ $device == cpu ]] || "$base_python" -m load_tests.gpu.driver "$@" || exit 2
}

codes=()
begun=$SECONDS
# step NAME PYTHON MODULE OPTIONS...: runs one step within what is left of the time.
step() {
    local name=$1 code=0 left=$((limit_s - SECONDS + begun))
    shift
    if ((left > 5)); then
        echo "run.sh: $name, $left s left" >&2
        timeout --signal=TERM --kill-after=15 "$left" "$@" ${mode[@]+"${mode[@]}"} --out "$out" >/dev/null || code=$?
    else
        code=124
    fi
    codes+=("$name=$code")
}
chosen() { [[ -z $only || ,$only, == *,$1,* ]]; }

show_hardware
if [[ $join == yes ]]; then
    join_pack
    venv=$pack/venv
    [[ -n $catalog ]] || catalog=$pack/joined/catalog/showroom
else
    venv=$root/.venv
    [[ -x $venv/bin/python ]] || fail "no $venv; run make env EXTRA=gpu, or --join with a pack"
    base_python=$venv/bin/python
    export SIGHTLINE_HOME=${SIGHTLINE_HOME:-$root/.sightline}
    mapfile -t sites < <(find "$SIGHTLINE_HOME"/engine/venv/lib -maxdepth 2 -name site-packages 2>/dev/null)
    check_driver --site "$(site_of "$venv")" ${sites[@]+--site "${sites[@]}"}
    [[ -n $catalog ]] || catalog=$SIGHTLINE_HOME/catalogs/showroom
fi

# One copy of NVIDIA's libraries serves FAISS and the engine: the engine passes this path on to its stubs.
for folder in "$(site_of "$venv")"/nvidia/*/lib; do
    if [[ $device == gpu && -d $folder ]]; then
        export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$folder
    fi
done

if [[ $join == yes && -n $also_pack ]]; then
    other=$(realpath -m "$also_pack")/venv
    step faiss_other "$other/bin/python" -m load_tests.gpu.faiss_search --facts-only --name faiss_other
fi
# The models come first: the path's figures are set against theirs.
if chosen models; then
    step models "$venv/bin/python" -m load_tests.gpu.models
fi
if chosen path; then
    step path "$venv/bin/python" -m load_tests.gpu.path --catalog "$catalog"
fi
if chosen quality; then
    step quality "$venv/bin/python" -m load_tests.gpu.quality --catalog "$catalog"
fi
if chosen living; then
    step living "$venv/bin/python" -m load_tests.gpu.living
fi
if chosen plans; then
    step plans "$venv/bin/python" -m load_tests.gpu.plans
fi
if chosen choice; then
    step choice "$venv/bin/python" -m load_tests.gpu.choice
fi
if chosen faiss_search; then
    step faiss_search "$venv/bin/python" -m load_tests.gpu.faiss_search
fi
exec "$venv/bin/python" -m load_tests.gpu.results ${mode[@]+"${mode[@]}"} --out "$out" "${codes[@]}"
