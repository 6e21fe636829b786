"""The statuses of a machine, with MAAS's own numbers and names."""

from enum import IntEnum


class Status(IntEnum):
    """NODE_STATUS of MAAS; the member names in lower case are the values of the `status` filter."""

    NEW = 0
    COMMISSIONING = 1
    FAILED_COMMISSIONING = 2
    MISSING = 3
    READY = 4
    RESERVED = 5
    DEPLOYED = 6
    RETIRED = 7
    BROKEN = 8
    DEPLOYING = 9
    ALLOCATED = 10
    FAILED_DEPLOYMENT = 11
    RELEASING = 12
    FAILED_RELEASING = 13
    DISK_ERASING = 14
    FAILED_DISK_ERASING = 15
    RESCUE_MODE = 16
    ENTERING_RESCUE_MODE = 17
    FAILED_ENTERING_RESCUE_MODE = 18
    EXITING_RESCUE_MODE = 19
    FAILED_EXITING_RESCUE_MODE = 20
    TESTING = 21
    FAILED_TESTING = 22

    @property
    def label(self) -> str:
        """The name as the API shows it in `status_name`."""
        return _LABELS.get(self, self.name.replace("_", " ").capitalize())


_LABELS = {
    Status.FAILED_ENTERING_RESCUE_MODE: "Failed to enter rescue mode",
    Status.FAILED_EXITING_RESCUE_MODE: "Failed to exit rescue mode",
}

# What "mark failed" turns a status into; a machine in any other status stays as it is.
FAILURE_OF = {
    Status.COMMISSIONING: Status.FAILED_COMMISSIONING,
    Status.TESTING: Status.FAILED_TESTING,
    Status.DEPLOYING: Status.FAILED_DEPLOYMENT,
    Status.RELEASING: Status.FAILED_RELEASING,
    Status.DISK_ERASING: Status.FAILED_DISK_ERASING,
    Status.ENTERING_RESCUE_MODE: Status.FAILED_ENTERING_RESCUE_MODE,
    Status.EXITING_RESCUE_MODE: Status.FAILED_EXITING_RESCUE_MODE,
}

COMMISSIONABLE = frozenset(
    {Status.NEW, Status.FAILED_COMMISSIONING, Status.READY, Status.FAILED_TESTING, Status.BROKEN}
)

# RELEASABLE_STATUSES of maasserver/models/node.py.
RELEASABLE = frozenset(
    {
        Status.ALLOCATED,
        Status.RESERVED,
        Status.BROKEN,
        Status.DEPLOYING,
        Status.DEPLOYED,
        Status.FAILED_DEPLOYMENT,
        Status.FAILED_DISK_ERASING,
        Status.FAILED_RELEASING,
    }
)

# Statuses in which a machine boots the ephemeral environment (COMMISSIONING_LIKE_STATUSES).
BOOTS_EPHEMERAL = frozenset(
    {
        Status.COMMISSIONING,
        Status.TESTING,
        Status.DISK_ERASING,
        Status.ENTERING_RESCUE_MODE,
        Status.RESCUE_MODE,
    }
)

# Where NODE_TRANSITIONS (maasserver/node_status.py) lets the rescue mode begin and end.
RESCUABLE = frozenset(
    {
        Status.READY,
        Status.BROKEN,
        Status.DEPLOYED,
        Status.FAILED_ENTERING_RESCUE_MODE,
        Status.FAILED_EXITING_RESCUE_MODE,
    }
)
IN_RESCUE = frozenset({Status.RESCUE_MODE, Status.FAILED_ENTERING_RESCUE_MODE, Status.FAILED_EXITING_RESCUE_MODE})

# "A node in the 'ready', 'allocated', 'deployed', 'broken', or any failed state may run tests" (its API page).
TESTABLE = frozenset(
    {
        Status.READY,
        Status.ALLOCATED,
        Status.DEPLOYED,
        Status.BROKEN,
        Status.FAILED_COMMISSIONING,
        Status.FAILED_DEPLOYMENT,
        Status.FAILED_RELEASING,
        Status.FAILED_DISK_ERASING,
        Status.FAILED_TESTING,
    }
)

# Statuses that end by themselves when the machine never reports (MONITORED_STATUSES).
MONITORED = frozenset(FAILURE_OF)
