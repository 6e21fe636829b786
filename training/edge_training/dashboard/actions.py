"""What an operator may have done: a fixed table of playbooks, each with the parameters that it takes, checked."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
Device = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$")]
Tag = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$")]
# Of an installed package; a path would be a file of whoever runs the dashboard.
Task = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*(:[A-Za-z_]\w*)?$")]


class Asked(BaseModel):
    """A field too many is an error: so no secret gets in by a name that nobody has thought of.

    `lane` is what is worked on: of two jobs of one lane, the second does not begin.
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)
    action: str

    @property
    def lane(self) -> str:
        return f"{self.action} rack"

    @property
    def named(self) -> list[str]:
        """Devices that are named, which must be there."""
        return []

    @property
    def limit(self) -> str | None:
        return None

    def extra_vars(self) -> dict[str, Any]:
        return {}


class Train(Asked):
    action: Literal["train"]
    task: Task | None = None
    epochs: Annotated[int, Field(ge=1, le=10_000)] | None = None
    batch_size: Annotated[int, Field(ge=1, le=65_536)] | None = None
    learning_rate: Annotated[float, Field(gt=0, le=10)] | None = None
    force: bool = False

    @property
    def lane(self) -> str:
        return "training"

    def extra_vars(self) -> dict[str, Any]:
        given = {
            "task": self.task,
            "train_epochs": self.epochs,
            "train_batch_size": self.batch_size,
            "train_learning_rate": self.learning_rate,
        }
        return {**{name: value for name, value in given.items() if value is not None}, "train_force": self.force}


class StopTraining(Asked):
    """With a checkpoint; in a lane of its own, for the training has its own as long as it runs."""

    action: Literal["stop_training"]


class Serve(Asked):
    action: Literal["serve"]

    @property
    def lane(self) -> str:
        return "release"


class Release(Asked):
    """`tags`: new ones by image; those that are left out stay what the release file says."""

    action: Literal["release"]
    name: Name
    tags: dict[Literal["worker", "predictor", "manager"], Tag] = {}
    canaries: Annotated[int, Field(ge=0, le=1000)] | None = None

    @property
    def lane(self) -> str:
        return "release"

    def extra_vars(self) -> dict[str, Any]:
        chosen: dict[str, Any] = {"edge_release_name": self.name}
        if self.tags:
            chosen["rollout_tags"] = self.tags
        if self.canaries is not None:
            chosen["rollout_canaries"] = self.canaries
        return chosen


class Rollback(Asked):
    action: Literal["rollback"]
    name: Name

    @property
    def lane(self) -> str:
        return "release"

    def extra_vars(self) -> dict[str, Any]:
        return {"edge_release_name": self.name}


class ConvergeNow(Asked):
    """All devices, or those that are named."""

    action: Literal["converge_now"]
    devices: Annotated[list[Device], Field(max_length=1000)] = []

    @property
    def lane(self) -> str:
        return f"converge_now {','.join(sorted(set(self.devices))) or 'rack'}"

    @property
    def named(self) -> list[str]:
        return self.devices

    @property
    def limit(self) -> str | None:
        return ",".join(sorted(set(self.devices))) or None


class Status(Asked):
    action: Literal["status"]


class Doctor(Asked):
    action: Literal["doctor"]
    warning_rc: ClassVar[int] = 1


class Retire(Asked):
    """Drained, wiped, given back to MAAS. `force`: though it trains, or does not answer."""

    action: Literal["retire"]
    device: Device
    force: bool = False

    @property
    def lane(self) -> str:
        return f"retire {self.device}"

    @property
    def named(self) -> list[str]:
        return [self.device]

    def extra_vars(self) -> dict[str, Any]:
        return {"device": self.device, "retire_force": self.force}


class Power(Asked):
    """Switched by MAAS, after a shutdown. `force`: though it trains, does not answer, or MAAS is at work on it."""

    action: Literal["power"]
    device: Device
    power: Literal["on", "off", "cycle"]
    force: bool = False

    @property
    def lane(self) -> str:
        return f"power {self.device}"

    @property
    def named(self) -> list[str]:
        return [self.device]

    def extra_vars(self) -> dict[str, Any]:
        return {"device": self.device, "power": self.power, "power_force": self.force}


Action = Annotated[
    Train | StopTraining | Serve | Release | Rollback | ConvergeNow | Status | Doctor | Retire | Power,
    Field(discriminator="action"),
]
