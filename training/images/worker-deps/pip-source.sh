# shellcheck shell=sh disable=SC2034
# Sets PIP_SOURCE: the wheelhouse alone where there is one, the package index where there is none; TORCH_INDEX adds one
# with torch's CPU builds.
if ls /wheels/*.whl >/dev/null 2>&1; then
  PIP_SOURCE='--no-index --find-links /wheels'
elif [ -n "${TORCH_INDEX:-}" ]; then
  PIP_SOURCE="--extra-index-url $TORCH_INDEX"
else
  PIP_SOURCE=
fi
