"""Light devices: the layers of the rack's images lie on the lab's disk once, and each device's disk has links to them.

A device's engine stays its own. It finds layers that no image of its own is made of yet, as on a disk whose image came
with them: it asks the registry for the manifest, checks it, and reads no layer again. Files are linked, folders made:
nothing that an engine does to a layer, deleting it included, reaches another's. One file in all means one copy in the
page cache, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

import docker

from lab.containers import LABEL

# Layout of overlay2 under a data root: https://docs.docker.com/engine/storage/drivers/overlayfs-driver/
LINK = r"""
set -eu
volumes=$1
to=$volumes/$2/_data
shift 2
mkdir -p "$to/image/overlay2/layerdb/sha256" "$to/overlay2/l"
for volume in "$@"; do
  from=$volumes/$volume/_data
  [ -n "$(ls "$from/image/overlay2/layerdb/sha256" 2>/dev/null)" ] || continue
  # Small, and written anew by each engine, so copied. Names are left out: a device pulls by digest, and so checks.
  cp -a "$from/image/overlay2/imagedb" "$from/image/overlay2/distribution" "$to/image/overlay2/"
  for layer in "$from"/image/overlay2/layerdb/sha256/*; do
    id=$(cat "$layer/cache-id")
    cp -a "$layer" "$to/image/overlay2/layerdb/sha256/"
    mkdir "$to/overlay2/$id" "$to/overlay2/$id/work"
    find "$from/overlay2/$id" -mindepth 1 -maxdepth 1 -type f -exec cp -a '{}' "$to/overlay2/$id/" ';'
    cp -al "$from/overlay2/$id/diff" "$to/overlay2/$id/diff"
    ln -s "../$id/diff" "$to/overlay2/l/$(cat "$from/overlay2/$id/link")"
  done
  exit  # one engine's: a layer names those below it in its own engine's words
done
"""


def link(client: docker.DockerClient, image: str, lab: str, sources: Sequence[str], volume: str) -> None:
    """Give `volume`, a device's empty /var/lib/docker, the layers of the first engine in the volumes `sources`.

    Raises docker.errors.ContainerError with what the shell said.
    """
    # One mount for all, for a link between two is refused (EXDEV).
    volumes = PurePosixPath(client.volumes.get(volume).attrs["Mountpoint"]).parent.parent
    client.containers.run(
        image,
        entrypoint=["/bin/sh", "-c", LINK, "link"],
        command=["/volumes", volume, *sources],
        volumes={str(volumes): {"bind": "/volumes", "mode": "rw"}},
        cap_add=["SYS_ADMIN"],  # overlay's own attributes are trusted.*
        network_mode="none",
        labels={LABEL: lab},
        remove=True,
    )
