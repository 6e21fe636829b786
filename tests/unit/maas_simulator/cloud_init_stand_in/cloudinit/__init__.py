"""What report-host-keys uses of cloud-init's library, which exists as a distribution's package only.

The real one runs in tests/boot.
"""
