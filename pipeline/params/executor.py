"""Where per-image work runs."""

from __future__ import annotations

import re

from pydantic import field_validator

from pipeline.params.base import Section

_ADDRESS = re.compile(r"(tcp|tls)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):([0-9]{1,5})")


class Executor(Section):
    """Where per-image work runs; no result depends on it, so that no stage runs again because of it."""

    address: str  # of a Dask scheduler, tcp://HOST:PORT; "" for processes of this machine

    @field_validator("address")
    @classmethod
    def _is_address(cls, address: str) -> str:
        found = _ADDRESS.fullmatch(address)
        if address and not (found and 0 < int(found[3]) < 65536):
            raise ValueError('must be tcp://HOST:PORT or tls://HOST:PORT of a Dask scheduler, or "" for none')
        return address
