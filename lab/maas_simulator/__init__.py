"""A MAAS region for the lab: API 2.0 and what a machine sees of MAAS, over a store on disk.

Checked against recordings of real regions (MAAS 3.4.10 and 3.6.5): `tests/unit/maas_simulator/` holds the
expectations. Where no recording says what a region does, the behaviour follows MAAS's published source, and
the comment beside it says so. What is not simulated is answered 501 and names itself.

    python -m lab.maas_simulator --data /var/lib/maas-simulator --api-key-file key ...
"""
