#!/bin/sh
# Checks and measures everything on a host with a card, in chunks of less than ten minutes. Run it again until it says that all is done.
#   usage: sh first_hour.sh [options of npm run gpu]
#   OUT      folder of the results and of the log; default: results, next to this file
#   MINUTES  start nothing more after this time; default 8.5
# Exit codes: 0 all is done; 1 something failed or is left.
set -u
here=$(cd "$(dirname "$0")" && pwd)
cd "$here" || exit 2
out=${OUT:-$here/results}
minutes=${MINUTES:-8.5}
mkdir -p "$out" || exit 2
log=$out/first_hour.log

say() { echo "$*"; echo "$*" >>"$log"; }

# Node, unpacked once. Python's lzma serves where xz is missing.
if [ ! -x ./node ]; then
  if command -v xz >/dev/null 2>&1; then
    xz -dc node.xz >node.part
  else
    python3 -c 'import lzma, shutil, sys; shutil.copyfileobj(lzma.open("node.xz"), sys.stdout.buffer)' >node.part
  fi || { say "node.xz cannot be unpacked: install xz or python3"; exit 2; }
  chmod 755 node.part && mv node.part node || exit 2
fi

# The cache is used only if it belongs to this user and no one else can write to it.
chmod -R u+rwX,go-w cache 2>/dev/null
[ "$(id -u)" = 0 ] && chown -R 0 cache 2>/dev/null
export RECTIFLOW_CACHE="${RECTIFLOW_CACHE:-$here/cache}"
export PATH="$here:$PATH"

say "== $(date -u '+%Y-%m-%d %H:%M:%S') UTC, node $(./node --version)"
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null | tee -a "$log"

{ ./node dist/gpu/main.js --state state.json --out "$out" --minutes "$minutes" "$@" 2>&1; echo $? >status; } | tee -a "$log"
cp state.json "$out"/ 2>/dev/null
if [ "$(cat status)" != 0 ]; then
  say "not done: run it again to resume"
  exit 1
fi

# Out-of-bounds accesses and races of the kernels at small sizes, where the tool is installed.
if command -v compute-sanitizer >/dev/null 2>&1 && [ ! -e sanitized ]; then
  # Memory that is kept for reuse would hide accesses beyond the end of a block.
  export RECTIFLOW_CUDA_CACHING=0
  wrong=0
  for tool in memcheck racecheck; do
    timeout 240 compute-sanitizer --tool $tool --target-processes all --error-exitcode 9 \
      ./node dist/gpu/main.js --state "$out/$tool.state" --out "$out/$tool" --minutes 3 --precision bf16 \
      --only ops --filter 'conv2d|groupNorm|matmul|attention' >"$out/$tool.log" 2>&1
    code=$?
    say "compute-sanitizer $tool: exit code $code, $out/$tool.log"
    [ $code = 0 ] || wrong=1
  done
  if [ $wrong = 1 ]; then
    say "not done: compute-sanitizer found something, or did not end; run it again"
    exit 1
  fi
  : >sanitized
fi
say "all is done: $out"
