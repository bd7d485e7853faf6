"""A service that starts as many do: imports first, then the handler, then READY=1.

It ends by itself after its first reload, so that the demo does; with --stay it does not.
"""

import os
import socket
import sys
import time

# What takes a real service long: modules, settings, a first connection.
import asyncio  # noqa: F401
import email.message  # noqa: F401
import http.server  # noqa: F401
import ssl  # noqa: F401

time.sleep(0.3)

import signal  # noqa: E402

reloaded = False


def reload_settings(signum, frame):
    global reloaded
    reloaded = True


def notify(message):
    """sd_notify(3) without a library."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(address)
        sender.send(message.encode())


signal.signal(signal.SIGHUP, reload_settings)
notify("READY=1\nSTATUS=serving")

deadline = time.monotonic() + 10
while time.monotonic() < deadline:
    time.sleep(0.05)
    if reloaded:
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        notify(f"RELOADING=1\nMONOTONIC_USEC={now}")
        time.sleep(0.05)
        notify("READY=1\nSTATUS=reloaded")
        if "--stay" not in sys.argv:
            break
        reloaded = False
notify("STOPPING=1")
