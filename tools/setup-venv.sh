#!/bin/sh
# Make .venv from a lock file of hashes: tools/setup-venv.sh requirements.lock
set -eu
lock=$1
python=""
for candidate in python3.11 python3.12 python3; do
  if command -v "$candidate" >/dev/null 2>&1 &&
     "$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then
    python=$candidate
    break
  fi
done
if [ ! -x .venv/bin/python ] || ! .venv/bin/python -c 'import pip' 2>/dev/null; then
  rm -rf .venv
  "$python" -m venv .venv
fi
echo "Installing from $lock into .venv (a minute or two the first time) ..."
.venv/bin/python -m pip install --disable-pip-version-check --quiet --require-hashes -r "$lock"
# The native hash lanes, in place. Without a compiler the pure-Python twin hashes, and one line says so.
rm -f nips/pool/_lanes*.so
.venv/bin/python setup.py --quiet build_ext --inplace --force --build-temp .venv/lanes --build-lib .venv/lanes \
  >.venv/lanes.log 2>&1 || true
if [ ! -e nips/pool/_lanes.abi3.so ]; then
  echo "Native hash lanes not built ($(tail -n 1 .venv/lanes.log)); after mending that: rm .venv/.runtime .venv/.dev"
fi
# The checkout itself is the package: `.venv/bin/noncestr` and `python -m noncestr` run it from any folder.
site=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
pwd >"$site/noncestr-checkout.pth"
printf '#!%s\nfrom noncestr.cli import main\n\nmain()\n' "$(pwd)/.venv/bin/python" >.venv/bin/noncestr
chmod +x .venv/bin/noncestr
