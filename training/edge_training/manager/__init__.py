"""The Device Manager: what a device is asked over HTTP to train, to serve, and to tell how it is."""
