#!/bin/sh
# Makes the virtual environment in the checkout: sh lab/bootstrap.sh requirements.txt...
# A second call with the same files changes nothing.
set -eu
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  echo "bootstrap: $python is missing or older than 3.11: apt-get install python3, or set PYTHON=/path/to/python3.11" >&2
  exit 1
fi
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
  echo "bootstrap: installing python3-venv"
  apt-get update -q >/dev/null
  DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends python3-venv >/dev/null
fi

wanted=$(cat "$@" | sha256sum)
stamp=.venv/requirements-$(echo "$*" | tr -c 'a-z0-9\n' '-').sha256
if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
  echo "bootstrap: installing $* into .venv"
  .venv/bin/python -m pip --version >/dev/null 2>&1 || "$python" -m venv --clear .venv
  for file in "$@"; do set -- "$@" -r "$file"; shift; done
  .venv/bin/python -m pip install --quiet --no-compile --disable-pip-version-check "$@"
  echo "$wanted" > "$stamp"
fi

# Ansible finds a collection by its path: this checkout is edge.rack (ansible.cfg names .collections).
mkdir -p .collections/ansible_collections/edge
[ -L .collections/ansible_collections/edge/rack ] || rm -rf .collections/ansible_collections/edge/rack
ln -sfn ../../.. .collections/ansible_collections/edge/rack
