"""One machine with systemd and no rack around it, to try a role on.

LAB_NAME=roles LAB_STATE=tests/output/roles python -m lab machine       `python -m lab down` takes it away
"""

from __future__ import annotations

from docker.errors import NotFound

from lab import engine, host, images
from lab.containers import LABEL, Spec, create
from lab.progress import Progress
from lab.settings import Settings, own


def machine(settings: Settings, progress: Progress) -> None:
    """Make and start it; its engine's address stands in STATE/engine, its name is edge-<lab>-machine."""
    own(settings.state)
    own(settings.cache)
    host.raise_kernel_limits()
    url = engine.answering()
    host.install_packages(settings, engine_answers=url is not None)
    url = url or engine.start()
    with engine.connect(url) as client:
        with progress.working("the machine's operating system, from Debian's packages"):
            image = images.ensure_nuc(client, settings)
        name = settings.container("machine")
        try:
            container = client.containers.get(name)
        except NotFound:
            spec = Spec(
                name=name,
                image=image,
                hostname="machine",
                network="bridge",
                address=None,
                labels={LABEL: settings.name},
                restart=False,
            )
            container = create(client, spec, {})
        container.start()
    (settings.state / "engine").write_text(url + "\n")
    progress.say(f"{name} runs in the engine at {url}")
