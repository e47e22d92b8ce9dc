"""Listening sockets inside the lab's internet, for servers that otherwise live outside it."""

from __future__ import annotations

import socket

from lab.world import netns
from lab.world.state import State


def tcp(state: State, address: str, port: int) -> socket.socket:
    """A listening TCP socket on an address of the lab's internet."""
    return netns.call(state.namespace("internet"), lambda: _tcp(address, port))


def udp(state: State, address: str, port: int) -> socket.socket:
    """A bound UDP socket on an address of the lab's internet."""
    return netns.call(state.namespace("internet"), lambda: _udp(address, port))


def _tcp(address: str, port: int) -> socket.socket:
    return socket.create_server((address, port), backlog=256)


def _udp(address: str, port: int) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.bind((address, port))
    return opened
