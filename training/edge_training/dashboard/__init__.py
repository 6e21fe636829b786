"""The rack on one screen: how its devices stand, what they train, and buttons that run the rack's playbooks."""
