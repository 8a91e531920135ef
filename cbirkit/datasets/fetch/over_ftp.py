"""One attempt over FTP, resumed where the server can."""

import ftplib
import os
import urllib.parse

from . import unfinished
from .unfinished import Gone, Interrupted, reason_of, weight_of


def attempt_ftp(url, part, offset):
    """Send what is missing of `part` from byte `offset` on; `Gone` or `Interrupted` if it cannot be had."""
    address = urllib.parse.urlsplit(url)
    try:
        with ftplib.FTP(timeout=unfinished.SECONDS) as server:
            server.connect(address.hostname, address.port or ftplib.FTP_PORT)
            server.login()
            server.voidcmd("TYPE I")
            _retrieve(server, urllib.parse.unquote(address.path), part, offset)
    except ftplib.error_perm as error:
        raise Gone(f"the server answered {error}") from error
    except (ftplib.Error, EOFError) as error:
        raise Interrupted(reason_of(error)) from error
    except OSError as error:
        if getattr(error, "plain", False):  # of our own disk
            raise
        raise Interrupted(reason_of(error), weight=weight_of(error)) from error


def _retrieve(server, path, part, offset):
    total = _ftp_size(server, path)
    modified = _modified(server, path)
    if offset and (
        offset > (total or offset) or part.notes.get("validator") not in (None, modified)
    ):
        offset = 0
    if offset and offset == total:
        part.total = total
        return
    try:
        connection = server.transfercmd(f"RETR {path}", offset or None)
    except ftplib.error_perm as error:
        if not offset or not str(error).startswith("50"):  # 502: cannot resume
            raise
        offset, connection = 0, server.transfercmd(f"RETR {path}")
    with connection, part.open(offset, total, modified) as file:
        while block := connection.recv(unfinished.BLOCK):
            part.add(file, block)
    if total is None or os.path.getsize(part.path) >= total:
        server.voidresp()


def _ftp_size(server, path):
    try:
        return server.size(path)
    except ftplib.error_perm as error:
        if str(error).startswith("550"):  # there is no such file
            raise
        return None


def _modified(server, path):
    try:
        return server.voidcmd(f"MDTM {path}")
    except ftplib.Error:
        return None
