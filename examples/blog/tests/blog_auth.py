"""What a visitor does to become a user."""

from dataclasses import dataclass

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

LONG_ENOUGH = "correct horse"


@dataclass
class Auth:
    client: FlaskClient

    def register(self, name: str = "Ada", password: str = LONG_ENOUGH) -> TestResponse:
        return self.client.post("/auth/register", data={"name": name, "password": password})

    def log_in(self, name: str = "Ada", password: str = LONG_ENOUGH) -> TestResponse:
        return self.client.post("/auth/login", data={"name": name, "password": password})

    def log_out(self) -> TestResponse:
        return self.client.post("/auth/logout")

    def arrive(self, name: str = "Ada") -> None:
        """Register and log in, in place of whoever was logged in before."""
        self.register(name)
        assert self.log_in(name).status_code == 302
