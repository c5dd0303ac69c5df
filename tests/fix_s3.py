"""An S3 server for tests: moto's, in this process, on loopback; a fresh bucket a test."""

import logging
import uuid
from collections.abc import Iterator

import pytest
from moto.server import ThreadedMotoServer
from pyarrow import fs


class S3Server:
    """moto's S3 on a free port."""

    def __init__(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.address = f"{host}:{port}"

    def uri(self, path: str, credentials: str = "tester:hush") -> str:
        """A URI of a bucket, or of a prefix in it, that Arrow opens."""
        return f"s3://{credentials}@{path}?endpoint_override={self.address}&scheme=http&region=us-east-1"

    def make_bucket(self) -> str:
        name = f"lake-{uuid.uuid4().hex}"
        filesystem = fs.S3FileSystem(
            access_key="tester",
            secret_key="hush",
            endpoint_override=self.address,
            scheme="http",
            region="us-east-1",
            allow_bucket_creation=True,
        )
        filesystem.create_dir(name)
        return name

    def stop(self) -> None:
        self._server.stop()


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    server = S3Server()
    yield server
    server.stop()


@pytest.fixture
def bucket(s3: S3Server) -> str:
    """The name of a fresh bucket."""
    return s3.make_bucket()
