#!/bin/sh
# The first step of `make up` and `make test`: is what a fresh machine needs there? Prints the line that installs it.
missing=""
python=""
for candidate in python3.11 python3.12 python3; do
  if command -v "$candidate" >/dev/null 2>&1 &&
     "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then
    python=$candidate
    break
  fi
done
[ -n "$python" ] || missing="$missing python3 python3-venv"
if [ -n "$python" ] && ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
  missing="$missing $("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
fi
command -v git >/dev/null 2>&1 || missing="$missing git"
if [ -n "$missing" ]; then
  echo "noncestr needs Python 3.11 or 3.12 with venv, make and git. On Debian:" >&2
  echo "  sudo apt-get install$missing make" >&2
  exit 1
fi
