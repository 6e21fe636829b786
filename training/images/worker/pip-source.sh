# Sets PIP_SOURCE: the wheelhouse alone where there is one, the package index where there is none.
if ls /wheels/*.whl >/dev/null 2>&1; then
  PIP_SOURCE='--no-index --find-links /wheels'
else
  PIP_SOURCE='--extra-index-url https://download.pytorch.org/whl/cpu'
fi
