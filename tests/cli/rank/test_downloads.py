"""`plt-nn rank --download`, from a hub on loopback that has the real weights of one net."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from plt_nn import create_backbone
from tests import warm
from tests.cli.conftest import environment

LITE0, TAGGED = "timm/tf_efficientnet_lite0", "timm/tf_efficientnet_lite0.in1k"
COMMIT = "0" * 40


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[ThreadingHTTPServer]:
    """Answers as Hugging Face's does: for the file of one net, and that there is no such repository for any other."""
    file = tmp_path / "model.safetensors"
    save_file(create_backbone(LITE0, pretrained="package:efficientnet-lite0").state_dict(), file)
    weights = file.read_bytes()

    class Hub(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, with_body: bool) -> None:
            is_there = self.path == f"/{TAGGED}/resolve/main/model.safetensors"
            body = weights if is_there else b"Repository not found"
            self.send_response(200 if is_there else 404)
            headers = {"ETag": '"weights"', "X-Repo-Commit": COMMIT} if is_there else {"X-Error-Code": "RepoNotFound"}
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.photos
@pytest.mark.slow
def test_a_short_list_is_downloaded_and_then_at_hand(few: Path, hub: ThreadingHTTPServer, tmp_path: Path) -> None:
    places = {"HF_ENDPOINT": f"http://127.0.0.1:{hub.server_address[1]}", "HF_HUB_CACHE": str(tmp_path / "cache")}

    def rank(*words: str) -> dict[str, Any]:  # the library reads both when it is imported
        command = [sys.executable, "-m", "plt_nn", "rank", "--data.root", str(few), "--sizes", "64", *words]
        done = subprocess.run(
            [*command, "--format", "json"],
            cwd=tmp_path,
            env=environment() | places,
            capture_output=True,
            text=True,
            timeout=warm.PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    first = rank("--download")
    by_name = {one["name"]: one for one in first["candidates"]}
    assert by_name[TAGGED]["log_loss"] == by_name[LITE0]["log_loss"], "those of the package are the same weights"
    (resnet,) = (reason for reason in first["left_out"] if reason.startswith("resnet50.a1_in1k"))
    assert "could not be downloaded" in resnet
    assert len(first["left_out"]) == 9, "the others of the short list"

    hub.shutdown()
    hub.server_close()
    again = rank()  # without a hub, and without asking for one
    assert TAGGED in {one["name"] for one in again["candidates"]}
    assert again["images_computed"] == 0
    assert again["left_out"] == []
