"""The metal: machines that are switched on by their baseboard controllers and boot from the network.

It stands for what no lab has room for. A machine is a container with systemd and its own Docker Engine; its
disk is the container's file system and a volume. Everything else knows it only by HTTP: MAAS's `webhook` power
driver on one side, MAAS's network boot and metadata service on the other.
"""
