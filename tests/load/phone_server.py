"""The real server with zero-delay engines and carriers, for ``bench_phone``: ``python phone_server.py PORT``.

Calls by SIP come to the port behind it.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import tempfile
from pathlib import Path

import uvloop
from scripted_server import ScriptedEngines, rss_kib

from server.app import Application
from server.listening import listen
from server.serving import running, settle
from server.settings import Limits, Settings
from server.sip_settings import SipSettings
from server.telephony_settings import TelephonySettings

SECRET = "a-secret-for-benchmarks"
TOKEN = "0123456789abcdef0123456789abcdef"


async def main(port: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        telephony = TelephonySettings.model_validate(
            {
                "public_url": "https://voice.example.org",
                "stream_secrets": [SECRET],
                "twilio": {"account_sid": "AC" + "0" * 32, "auth_token": TOKEN, "api_url": "http://127.0.0.1:9"},
                "greeting": "Hello.",
                "greeting_after_s": 0,
                "max_calls": 2_000,
            }
        )
        limits = Limits(max_sessions=2_000)
        calls = {"name": "home", "networks": ["127.0.0.0/8"], "invites_per_s": 1_000}
        sip = SipSettings.model_validate(
            {"enabled": True, "bind": "127.0.0.1", "udp_port": port + 1, "tcp_port": None, "trunks": [calls]}
            | {"max_calls": 400, "rtp_ports": "50000-50999"}
        )
        settings = Settings(port=port, data_dir=Path(directory), limits=limits, telephony=telephony, sip=sip)
        application = Application(settings, engines=ScriptedEngines())
        async with running(application, listen("127.0.0.1", port)):
            await application.wait_ready()
            settle()
            print("ready", flush=True)
            loop = asyncio.get_running_loop()
            while await loop.run_in_executor(None, sys.stdin.readline):
                usage = resource.getrusage(resource.RUSAGE_SELF)
                print(usage.ru_utime + usage.ru_stime, rss_kib(), flush=True)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
